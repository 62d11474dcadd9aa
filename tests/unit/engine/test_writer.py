from __future__ import annotations

import asyncio
import pathlib
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import apsw
import pytest
import pytest_asyncio

from perdure.engine import batch, hub, writer

from . import lab


class Desk:
    """A writer with a record of what it told."""

    def __init__(self, home: hub.Hub) -> None:
        self.home = home
        self.told: list[tuple[list[batch.Batch], BaseException | None]] = []
        self.changed = asyncio.Event()
        self.writer = writer.Writer("writer", home.writer, batch.apply, self._done, batch.single)

    def _done(self, items: Sequence[batch.Batch], error: BaseException | None) -> None:
        self.told.append((list(items), error))
        self.changed.set()

    async def settled(self, count: int) -> None:
        while sum(len(items) for items, _ in self.told) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), lab.PATIENCE_SECONDS)

    def rows(self, query: str = "SELECT instance, seq FROM history ORDER BY 1, 2") -> list[tuple[Any, ...]]:
        connection = self.home.reader()
        found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
        connection.close()
        return found


@pytest_asyncio.fixture
async def desk(tmp_path: pathlib.Path) -> AsyncIterator[Desk]:
    home = hub.open_hub(tmp_path)
    made = Desk(home)
    yield made
    await made.writer.close()
    home.release()


def history(*places: tuple[int, int]) -> batch.Batch:
    made = batch.Batch()
    for instance, seq in places:
        made.history += (instance, seq, 0, b"")
    return made


async def test_what_is_told_is_readable(desk: Desk) -> None:
    desk.writer.put(history((1, 1)))
    await desk.settled(1)
    assert desk.told[0][1] is None
    assert desk.rows() == [(1, 1)]


async def test_a_batch_of_any_size_is_written_whole(desk: Desk) -> None:
    for count in (1, 2, 3, 63, 64, 65, 200):
        places = [(count, seq) for seq in range(count)]
        desk.writer.put(history(*places))
        await desk.settled(len(desk.told) + 1)
        assert [row for row in desk.rows() if row[0] == count] == places


async def test_a_batch_that_fails_leaves_nothing_behind(desk: Desk) -> None:
    desk.writer.put(history((1, 1)))
    await desk.settled(1)
    broken = history(*((2, seq) for seq in range(100)), (1, 1))
    broken.meta["epoch"] = 9
    desk.writer.put(broken)
    await desk.settled(2)
    assert isinstance(desk.told[1][1], apsw.ConstraintError)
    assert desk.rows() == [(1, 1)]
    assert desk.rows("SELECT * FROM meta") == []


async def test_after_a_failure_nothing_is_tried_that_was_made_in_ignorance_of_it(desk: Desk) -> None:
    desk.writer.put(history((1, 1), (1, 1)))
    await desk.settled(1)
    desk.writer.put(history((2, 1)))
    await desk.settled(2)
    assert desk.told[1][1] is not None
    assert not desk.writer.commit_here([history((2, 1))])
    desk.writer.resume()
    desk.writer.put(history((3, 1)))
    await desk.settled(3)
    assert desk.told[2][1] is None
    assert desk.rows() == [(3, 1)]


async def test_a_commit_on_the_loop_is_as_durable_and_told_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "HERE_SECONDS_LIMIT", float("inf"))
    assert desk.writer.commit_here([history((1, 1), (1, 2), (1, 3))])
    assert desk.told[0][1] is None
    assert desk.rows() == [(1, 1), (1, 2), (1, 3)]
    assert desk.writer.commit_here([history((1, 1))])
    assert isinstance(desk.told[1][1], apsw.ConstraintError)


async def test_the_log_is_moved_into_the_file_as_it_grows_and_at_the_end(desk: Desk) -> None:
    log = desk.home.folder / (hub.HUB_FILE + "-wal")
    limit = writer.CHECKPOINT_BYTES
    for number in range(60):
        big = batch.Batch()
        big.history += (number, 1, 0, b"x" * 400_000)
        desk.writer.put(big)
        await desk.settled(number + 1)
    assert log.stat().st_size < 2 * limit
    await desk.writer.close()
    assert not log.exists() or log.stat().st_size == 0
    assert len(desk.rows()) == 60


async def test_a_crash_leaves_what_was_not_begun_uncommitted(desk: Desk) -> None:
    desk.writer.put(history((1, 1)))
    await desk.settled(1)
    crashing = asyncio.create_task(desk.writer.crash())
    await asyncio.sleep(0)
    desk.writer.put(history((1, 2)))
    await crashing
    assert desk.rows() == [(1, 1)]


async def test_later_batches_of_one_commit_have_the_last_word(desk: Desk) -> None:
    first, second = batch.Batch(), batch.Batch()
    first.entities["n", "k"] = (1.0, b"one")
    second.entities["n", "k"] = None
    first.payloads["o", b"d"] = b"body"
    second.owners.append("o")
    home = desk.home.writer()
    cursor = home.cursor()
    with home:
        batch.apply(cursor, [first, second])
    assert home.execute("SELECT count(*) FROM entities").fetchall() == [(0,)]
    assert home.execute("SELECT count(*) FROM payloads").fetchall() == [(0,)]
    home.close()


class Barrier:
    """A lock that says when somebody stands before it, and lets in whom it is told to."""

    def __init__(self) -> None:
        self.before = threading.Semaphore(0)
        self.may = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.before.release()
        self.may.acquire()

    def __exit__(self, *_: object) -> None: ...


async def test_a_commit_that_fails_on_the_loop_just_as_the_log_is_to_be_moved_does_not_end_the_writer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection away; who came after it would wait for a thread that is dead."""
    monkeypatch.setattr(writer, "IDLE_SECONDS", 0.01)
    barrier = Barrier()
    with monkeypatch.context() as patched:
        patched.setattr(desk.writer, "_guard", barrier)
        desk.writer.put(history((1, 1)))
        barrier.may.release()
        await desk.settled(1)
        for _ in ("the commit", "the log"):
            assert await asyncio.to_thread(barrier.before.acquire, timeout=lab.PATIENCE_SECONDS)
        desk.writer._disconnect()
    barrier.may.release()
    desk.writer.put(history((2, 1)))
    await desk.settled(2)
    assert desk.told[1][1] is None
