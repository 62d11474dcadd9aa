"""Commits that fail, on a real disk that is really full."""

from __future__ import annotations

import asyncio
import os
import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests import disks

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import protocol

from . import lab

SIZE_BYTES = 3 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    with disks.mounted(tmp_path / "disk", SIZE_BYTES) as place:
        yield place


@pytest_asyncio.fixture
async def full(disk: pathlib.Path) -> AsyncIterator[lab.Lab]:
    made = lab.Lab(disk / "hub")
    made.program("chain", lab.chain)
    made.program("awaiting", lab.awaiting)
    made.activity("same", lab.same)
    await made.start()
    yield made
    (disk / "ballast").unlink(missing_ok=True)
    await made.engine.close()


def fill(disk: pathlib.Path) -> pathlib.Path:
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(4096))
        except OSError:
            pass
    return ballast


BIG = 600_000
"""Longer than what is left in the pages that the log has reserved."""


async def refused_until_full(full: lab.Lab, disk: pathlib.Path) -> pathlib.Path:
    ballast = fill(disk)
    with pytest.raises(errors.HubError, match="disk is full"):
        await full.engine.begin("awaiting", "refused", b"1" + b" " * BIG)
    return ballast


async def test_a_start_that_cannot_be_made_durable_is_refused_and_works_when_there_is_room(
    full: lab.Lab, disk: pathlib.Path
) -> None:
    ballast = await refused_until_full(full, disk)
    assert full.engine.view("refused") is None
    ballast.unlink()
    view, new = await full.engine.begin("awaiting", "refused", b"1")
    assert new and view.status == "Running"
    assert await full.engine.raise_event("refused", "go", b"x")
    assert (await full.ended("refused")).output == lab.encode([b"x"])


async def test_a_result_that_could_not_be_committed_is_not_paid_for_twice(full: lab.Lab, disk: pathlib.Path) -> None:
    gate = lab.Gate()

    async def large(call: object) -> bytes:
        await gate(call)
        return os.urandom(BIG)

    full.activity("large", large)

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.emit(b"begun")
        host.activity("one", "large", None)
        landed = yield
        host.emit(b"one")
        host.activity("two", "same", len(landed.value))
        landed = yield
        host.emit(b"two")
        return protocol.Ended(output=lab.encode(landed.value))

    full.program("large", program)
    await full.engine.begin("large", "a", b"")
    await gate.entered.wait()
    ballast = fill(disk)
    failed = asyncio.Event()
    commits = full.engine._core.commits
    fail = commits._failed

    def watched(error: BaseException) -> None:
        fail(error)
        failed.set()

    commits._failed = watched  # to know when it has failed
    gate.open.set()
    await asyncio.wait_for(failed.wait(), lab.PATIENCE_SECONDS)
    failed.clear()
    await asyncio.wait_for(failed.wait(), lab.PATIENCE_SECONDS)
    assert [event.data for event in full.engine.events("a")] == [b"begun"]
    ballast.unlink()
    assert (await full.ended("a")).output == lab.encode(BIG)
    assert full.ran == [("a", "one"), ("a", "two")]
    assert [(event.id, event.data) for event in full.engine.events("a")] == [(1, b"begun"), (2, b"one"), (3, b"two")]


async def test_an_event_that_cannot_be_made_durable_is_refused_and_not_sent(full: lab.Lab, disk: pathlib.Path) -> None:
    await full.engine.begin("awaiting", "a", b"1")
    ballast = fill(disk)
    with pytest.raises(errors.HubError, match="disk is full"):
        await full.engine.raise_event("a", "go", b"lost" * BIG)
    ballast.unlink()
    view = full.engine.view("a")
    assert view is not None and view.status == "Running"
    while True:
        try:
            assert await full.engine.raise_event("a", "go", b"kept")
            break
        except errors.HubError:
            # It waits to be rebuilt.
            await full.engine.wait("a", 0.05)
    assert (await full.ended("a")).output == lab.encode([b"kept"])


async def test_large_payloads_wait_for_room(full: lab.Lab, disk: pathlib.Path) -> None:
    ballast = fill(disk)
    blob = refs.blob(os.urandom(BIG))
    with pytest.raises(errors.HubError, match="disk is full"):
        await full.engine.payloads.put("a", [blob])
    ballast.unlink()
    await full.engine.payloads.put("a", [blob])
    assert full.engine.payloads.read("a", blob.digest) == blob.body


async def test_a_crash_on_a_full_disk_loses_nothing_that_was_told(full: lab.Lab, disk: pathlib.Path) -> None:
    await full.engine.begin("awaiting", "a", b"2")
    await full.engine.raise_event("a", "go", b"x")
    ballast = await refused_until_full(full, disk)
    await full.engine.crash()
    ballast.unlink()
    await full.start()
    assert await full.engine.raise_event("a", "go", b"y")
    assert (await full.ended("a")).output == lab.encode([b"x", b"y"])
