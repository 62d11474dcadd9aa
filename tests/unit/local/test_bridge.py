from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from perdure import errors
from perdure.hosts.local import bridge
from perdure.payloads import refs
from perdure.routes import runs
from perdure.testing import memory_runs


@pytest.fixture
def engine_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Endless:
    """Runs whose log has no end; counts how far it was read."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = threading.Event()
        self.paused = threading.Event()

    async def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[runs.Event]:
        try:
            while True:
                self.given += 1
                if self.given == bridge.FOLLOW_WINDOW:
                    self.paused.set()
                yield runs.Event(self.given, "note", 0.0, {})
        finally:
            self.closed.set()


async def test_a_reader_that_takes_nothing_holds_the_engine_up_at_the_window(
    engine_loop: asyncio.AbstractEventLoop,
) -> None:
    endless: Any = Endless()
    events = bridge.BridgedRuns(endless, engine_loop).follow("r1")
    assert (await anext(events)).id == 1
    assert await asyncio.to_thread(endless.paused.wait, 5)
    # The engine's loop has had many turns by now; it gives no more than the window and what was taken.
    for _ in range(20):
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), engine_loop))
    assert endless.given <= 2 * bridge.FOLLOW_WINDOW

    taken = [(await anext(events)).id for _ in range(1000)]
    assert taken == list(range(2, 1002))
    await events.aclose()  # type: ignore[attr-defined]  # an async generator
    assert await asyncio.to_thread(endless.closed.wait, 5)


async def test_a_stopped_engine_is_a_hub_error(engine_loop: asyncio.AbstractEventLoop) -> None:
    closed = asyncio.new_event_loop()
    closed.close()
    bridged = bridge.BridgedRuns(memory_runs.MemoryRuns({}), closed)

    with pytest.raises(errors.HubError, match="stopping"):
        await bridged.get("r1")
    with pytest.raises(errors.HubError):
        await bridged.start("echo", "r1", refs.Ref(b""))
    with pytest.raises(errors.HubError):
        [event async for event in bridged.follow("r1")]
    assert "stopping" in (await bridged.trouble() or "")


async def test_a_start_is_finished_even_when_its_client_has_left(engine_loop: asyncio.AbstractEventLoop) -> None:
    class Slow:
        def __init__(self) -> None:
            self.begun, self.go, self.done = threading.Event(), asyncio.Event(), threading.Event()

        async def start(self, *_: object, **given: object) -> Any:
            self.begun.set()
            await self.go.wait()
            self.done.set()
            return None, True

    slow: Any = Slow()
    starting = asyncio.create_task(bridge.BridgedRuns(slow, engine_loop).start("echo", "r1", refs.Ref(b"")))
    await asyncio.to_thread(slow.begun.wait, 5)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    engine_loop.call_soon_threadsafe(slow.go.set)

    assert await asyncio.to_thread(slow.done.wait, 5)


async def test_an_iterator_that_fails_fails_its_reader(engine_loop: asyncio.AbstractEventLoop) -> None:
    class Broken:
        async def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[runs.Event]:
            yield runs.Event(1, "note", 0.0, {})
            raise ValueError("broken")

    broken: Any = Broken()
    seen: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        async for event in bridge.BridgedRuns(broken, engine_loop).follow("r1"):
            seen.append(event.id)
    assert seen == [1]
