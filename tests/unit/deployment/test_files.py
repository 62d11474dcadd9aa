from __future__ import annotations

import json
import pathlib

import pytest

from perdure import errors
from perdure.deployment import checks, files, folder, provenance

RELEASE = provenance.Origin("0.1.0")
CHECKOUT = provenance.Origin("0.1.0", checkout=pathlib.Path("/src/perdure"), editable=True)


def write(target: pathlib.Path, wheel: pathlib.Path | None = None, origin: provenance.Origin = RELEASE) -> list[str]:
    return list(files.write(target, "flex", "storage", wheel, origin))


def contents(target: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_a_second_time_changes_nothing(tmp_path: pathlib.Path) -> None:
    assert all(line.startswith("made") for line in write(tmp_path))
    before = contents(tmp_path)
    assert all(line.startswith("kept") for line in write(tmp_path))
    assert contents(tmp_path) == before


def test_what_is_there_stays_and_what_is_missing_is_added(tmp_path: pathlib.Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": "v1"}}}')
    (tmp_path / "local.settings.json").write_text('{"Values": {"TASKHUB_NAME": "mine", "OTHER": "1"}}')
    (tmp_path / "requirements.txt").write_text("# what it needs\nperdure[openai]>=0.1\nhttpx\n")
    (tmp_path / ".funcignore").write_text("data\n")
    write(tmp_path)

    host = json.loads((tmp_path / "host.json").read_text())
    assert host["extensions"] == {"http": {"routePrefix": "v1"}, "durableTask": {"hubName": "%TASKHUB_NAME%"}}
    values = json.loads((tmp_path / "local.settings.json").read_text())["Values"]
    assert (values["TASKHUB_NAME"], values["OTHER"]) == ("mine", "1")
    assert (tmp_path / "requirements.txt").read_text() == "perdure[azure,openai]>=0.1\n# what it needs\nhttpx\n"
    assert (tmp_path / ".funcignore").read_text().startswith("data\n.git*\n")
    given = json.loads((tmp_path / "infra" / "parameters.json").read_text())["parameters"]
    assert given["taskHubName"] == {"value": "mine"}


def test_a_file_with_comments_is_left_to_its_owner(tmp_path: pathlib.Path) -> None:
    text = '{\n  // ours\n  "version": "2.0"\n}\n'
    (tmp_path / "host.json").write_text(text)
    told = write(tmp_path)
    assert (tmp_path / "host.json").read_text() == text
    assert any("host.json: it has comments; add by hand: logging, extensionBundle" in line for line in told)


def test_a_wheel_is_published_with_the_app(tmp_path: pathlib.Path) -> None:
    wheel = tmp_path / "perdure-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    target = tmp_path / "app"
    target.mkdir()
    (target / "function_app.py").write_text("from perdure import AgentFunctionApp\n")
    (target / "requirements.txt").write_text("perdure\n")
    write(target, wheel)
    write(target, wheel)

    assert (target / "requirements.txt").read_text() == "./wheels/perdure-0.1.0-py3-none-any.whl[azure]\n"
    assert (target / "wheels" / wheel.name).read_bytes() == b"wheel"
    assert checks.of_folder(folder.read(target), {}) == []


def test_where_perdure_is_a_checkout_its_wheel_is_named_and_nothing_from_an_index(tmp_path: pathlib.Path) -> None:
    (tmp_path / "requirements.txt").write_text("perdure[openai]\nhttpx\n")
    told = write(tmp_path, origin=CHECKOUT)
    again = write(tmp_path, origin=CHECKOUT)

    named = "./wheels/perdure-0.1.0-py3-none-any.whl[azure,openai]"
    assert (tmp_path / "requirements.txt").read_text() == f"{named}\nhttpx\n"
    assert f"changed requirements.txt: {named} instead of perdure[openai]" in told
    assert f"kept    requirements.txt: it has {named}" in again


def test_the_wheel_that_perdure_was_installed_from_goes_with_the_app(tmp_path: pathlib.Path) -> None:
    wheel = tmp_path / "perdure-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    write(tmp_path, origin=provenance.Origin("0.1.0", wheel=wheel))
    assert (tmp_path / "wheels" / wheel.name).read_bytes() == b"wheel"
    assert (tmp_path / "requirements.txt").read_text() == f"./wheels/{wheel.name}[azure]\n"


@pytest.mark.parametrize("pinned", ["perdure[azure]==0.1.0", "perdure[azure] @ https://example.com/perdure.zip"])
def test_a_release_that_somebody_chose_stays(tmp_path: pathlib.Path, pinned: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"{pinned}\n")
    write(tmp_path, origin=CHECKOUT)
    assert (tmp_path / "requirements.txt").read_text() == f"{pinned}\n"


@pytest.mark.parametrize("name", ["other-1.0-py3-none-any.whl", "perdure.tar.gz", "missing-perdure.whl"])
def test_what_is_no_wheel_of_perdure_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(errors.UsageError, match="no wheel of perdure"):
        write(tmp_path, tmp_path / name)


def test_durable_task_scheduler_is_set_up_where_it_is_asked_for(tmp_path: pathlib.Path) -> None:
    list(files.write(tmp_path, "premium", "scheduler", None, RELEASE))
    host = json.loads((tmp_path / "host.json").read_text())
    provider = host["extensions"]["durableTask"]["storageProvider"]
    values = json.loads((tmp_path / "local.settings.json").read_text())["Values"]
    assert provider["type"] == "azureManaged"
    assert provider["connectionStringName"] in values
