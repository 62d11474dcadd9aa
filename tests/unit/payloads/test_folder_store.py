"""A folder that processes share of which one may be killed at any moment."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import pytest

from perdure import errors
from perdure.payloads import refs
from perdure.payloads.stores import folder_store


class Disk:
    """Tells which folders were made durable, and may die before the next is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.durable: list[pathlib.Path] = []
        self.dead = False
        monkeypatch.setattr(folder_store, "_sync", self._sync)

    def _sync(self, place: pathlib.Path) -> None:
        if self.dead:
            raise OSError("killed")
        self.durable.append(place)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_record_that_somebody_wrote_who_was_killed_is_durable_for_whoever_finds_it(
    disk: Disk, tmp_path: pathlib.Path
) -> None:
    """Its name is in a folder that nobody may have made durable, and so is the folder's own."""
    disk.dead = True
    with pytest.raises(errors.HubError):
        await folder_store.FolderRecordStore(tmp_path).put_if_absent("r", "start", b"first")
    disk.dead = False
    found = folder_store.FolderRecordStore(tmp_path)
    assert not await found.put_if_absent("r", "start", b"second")
    [place] = (tmp_path / "=r").iterdir()
    assert disk.durable == [place, place.parent, tmp_path]
    assert not await found.put_if_absent("r", "start", b"second")
    assert disk.durable[3:] == [place], "the folders above are durable already"


async def test_a_payload_that_somebody_wrote_who_was_killed_is_durable_for_whoever_puts_it_again(
    disk: Disk, tmp_path: pathlib.Path
) -> None:
    disk.dead = True
    blob = refs.blob(b"body")
    with pytest.raises(errors.HubError):
        await folder_store.FolderPayloadStore(tmp_path).put("r", [blob])
    disk.dead = False
    await folder_store.FolderPayloadStore(tmp_path).put("r", [blob])
    [place] = (tmp_path / "=r").iterdir()
    assert disk.durable == [place, place.parent, tmp_path]


async def test_a_deletion_that_was_killed_has_deleted_all_and_the_next_sweeps_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    kept = folder_store.FolderRecordStore(tmp_path)
    for owner in ("r", "other"):
        for number in range(3):
            await kept.put_if_absent(owner, f"record/{number}", b"")

    def killed(*_: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(errors.HubError):
            await kept.forget("r")
    assert list(await kept.names("r")) == []
    assert any((tmp_path / "gone").iterdir())
    await kept.forget("r")
    assert not any((tmp_path / "gone").iterdir())
    assert len(await kept.names("other")) == 3


async def test_an_owner_that_has_nothing_leaves_no_folder(tmp_path: pathlib.Path) -> None:
    kept, payloads = folder_store.FolderRecordStore(tmp_path), folder_store.FolderPayloadStore(tmp_path)
    await kept.put_if_absent("r", "start", b"")
    await payloads.put("r", [refs.blob(b"body")])
    await payloads.purge("r")
    assert await kept.get("r", "start") == b""
    await kept.forget("r")
    await kept.put_if_absent("other", "start", b"")
    await kept.remove("other", "start")
    assert sorted(os.listdir(tmp_path)) == ["gone", "new", "removing"]
