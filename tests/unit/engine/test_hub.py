from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import threading

import apsw
import pytest

from perdure import errors
from perdure.engine import hub, migrations, statements


def test_a_hub_of_the_first_schema_version_is_brought_to_the_newest(tmp_path: pathlib.Path) -> None:
    path = tmp_path / hub.HUB_FILE
    connection = apsw.Connection(str(path))
    connection.execute(statements.script(migrations.HUB[0]))
    connection.execute("INSERT INTO meta VALUES ('epoch', 7)")
    connection.pragma("user_version", 1)
    connection.close()
    home = hub.open_hub(tmp_path)
    try:
        reader = home.reader()
        assert reader.pragma("user_version") == len(migrations.HUB)
        assert reader.execute(statements.text("select_meta"), ("epoch",)).fetchall() == [(7,)]
        reader.close()
    finally:
        home.release()


def test_the_first_schema_version_is_what_it_was() -> None:
    # A released migration never changes: hubs that ran it are not migrated again.
    import hashlib

    digests = {name: hashlib.sha256(statements.script(name).encode()).hexdigest()[:16] for name in RELEASED}
    assert digests == RELEASED


RELEASED = {"hub_001.sql": "ae1cc8bd26d4fa65", "payloads_001.sql": "e18b8ef301cb07b2"}


def test_a_migration_that_fails_changes_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {"one.sql": "CREATE TABLE one (a)", "two.sql": "CREATE TABLE two (a); CREATE TABLE one (a)"}
    monkeypatch.setattr(statements, "script", scripts.__getitem__)
    connection = apsw.Connection(str(tmp_path / "file.db"))
    with pytest.raises(apsw.SQLError, match="one already exists"):
        migrations.migrate(connection, ("one.sql", "two.sql"), "file.db")
    assert connection.pragma("user_version") == 1
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("one",)]
    connection.close()


@pytest.mark.parametrize("file", [hub.HUB_FILE, hub.PAYLOADS_FILE])
def test_a_newer_schema_is_refused_with_both_versions_and_the_remedy(tmp_path: pathlib.Path, file: str) -> None:
    hub.open_hub(tmp_path).release()
    connection = apsw.Connection(str(tmp_path / file))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(errors.HubError, match=r"version 99; .* up to 1\. Upgrade perdure") as caught:
        hub.open_hub(tmp_path)
    assert file in caught.value.message
    # A refused hub is not held.
    with pytest.raises(errors.HubError, match="version 99"):
        hub.open_hub(tmp_path)


def test_a_hub_in_use_by_another_process_is_refused_with_its_pid(tmp_path: pathlib.Path) -> None:
    script = (
        "import pathlib, sys\nfrom perdure.engine import hub\n"
        "home = hub.open_hub(pathlib.Path(sys.argv[1]))\nprint('open', flush=True)\nsys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    patience = threading.Timer(30, owner.kill)
    patience.start()
    with owner:
        assert owner.stdin is not None and owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(errors.HubError, match=f"in use by process {owner.pid}"):
            hub.open_hub(tmp_path)
        owner.kill()
        owner.wait()
    patience.cancel()
    home = hub.open_hub(tmp_path)
    assert (tmp_path / hub.LOCK_FILE).read_text().strip() == str(os.getpid())
    home.release()


def test_a_file_that_is_no_database_is_named_with_a_remedy(tmp_path: pathlib.Path) -> None:
    (tmp_path / hub.HUB_FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(errors.HubError, match="damaged"):
        hub.open_hub(tmp_path)


def test_a_folder_that_cannot_be_made_is_named_with_a_remedy(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.HubError, match="cannot be opened"):
        hub.open_hub(tmp_path / "file" / "hub")


def test_the_hub_is_durable_at_every_commit(tmp_path: pathlib.Path) -> None:
    home = hub.open_hub(tmp_path)
    connection = home.writer()
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("wal_autocheckpoint") == 0
    connection.close()
    home.release()


def test_every_statement_is_valid_against_the_newest_schema(tmp_path: pathlib.Path) -> None:
    home = hub.open_hub(tmp_path)
    connection = home.writer()
    names = re.findall(r"^-- name: (\w+)$", statements.script("statements.sql"), re.MULTILINE)
    assert len(names) == len(set(names)) > 20
    for name in names:
        texts = [statements.text(name)]
        if "/*row*/" in statements._named()[name]:
            texts = [statements.rows(name, count) for count in (1, 64)]
        for text in texts:
            count = text.count("?") or {match: None for match in re.findall(r":\w+", text)}
            bindings = [None] * count if isinstance(count, int) else {key[1:]: None for key in count}
            connection.execute("EXPLAIN " + text, bindings).fetchall()
    connection.close()
    home.release()
