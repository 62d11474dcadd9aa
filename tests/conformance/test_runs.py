from __future__ import annotations

import asyncio
import contextlib
import pathlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from tests.conformance import workflows

from perdure.hosts.local import bridge, host
from perdure.payloads import refs
from perdure.routes import runs
from perdure.testing import memory_runs
from perdure.testing.conformance import runs as conformance

T = TypeVar("T")


# The twin: its programs read what is theirs from a dictionary.


class Twin:
    """Runs in memory with the programs of the suite."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self._bodies: dict[bytes, bytes] = {}
        programs: dict[str, memory_runs.Program] = {
            "echo": self._echo,
            "failing": self._failing,
            "gated": self._gated,
            "asking": self._asking,
        }
        self.runs = memory_runs.MemoryRuns(programs)

    def accept(self, workflow: str, text: str) -> tuple[refs.Ref, list[refs.Blob]]:
        body = text.encode()
        if len(body) <= refs.INLINE_LIMIT_BYTES:
            return refs.Ref(body), []
        blob = refs.blob(body)
        self._bodies[blob.digest] = body
        return refs.stored(blob), [blob]

    def _text(self, value: refs.Ref) -> str:
        return (self._bodies[value.digest] if value.inline is None else value.inline).decode()

    async def _echo(self, value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        emit("output", {})
        return [self._text(value)]

    async def _failing(self, value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        raise ValueError("no")

    async def _gated(self, value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        await self.gate.wait()
        return ["opened"]

    async def _asking(self, value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        given = await emit.ask(self._text(value), int)
        return [] if given is None else [given]


class Local:
    """The suite's workflows on a local host."""

    def __init__(self, folder: pathlib.Path, *, replay: bool = False) -> None:
        self.gate = asyncio.Event()
        self.app = workflows.app_of(self.gate)
        self.host = host.LocalHost(self.app, hub=folder / "hub", replay=replay)

    def accept(self, workflow: str, text: str) -> tuple[refs.Ref, list[refs.Blob]]:
        return self.app.hosted_workflows[workflow].accept(text.encode(), "text/plain")

    async def reopen(self) -> runs.Runs:
        await self.host.crash()
        await self.host.restart()
        return self.host.runs


class Elsewhere:
    """A loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def open(self, gate: asyncio.Event) -> None:
        self.loop.call_soon_threadsafe(gate.set)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    made = Elsewhere()
    thread = threading.Thread(target=made.loop.run_forever)
    thread.start()
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    thread.join()
    made.loop.close()


class TestMemoryRuns(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[conformance.Bench]:
        twin = Twin()

        async def reopen() -> runs.Runs:
            return twin.runs

        yield conformance.Bench(twin.runs, twin.accept, twin.gate.set, reopen)
        await twin.runs.close()


class TestBridgedMemoryRuns(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self, elsewhere: Elsewhere) -> AsyncIterator[conformance.Bench]:
        twin = Twin()
        bridged = bridge.BridgedRuns(twin.runs, elsewhere.loop)

        async def reopen() -> runs.Runs:
            return bridged

        yield conformance.Bench(bridged, twin.accept, lambda: elsewhere.open(twin.gate), reopen)
        await elsewhere.call(twin.runs.close())


class TestLocalHost(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self, tmp_path: pathlib.Path) -> AsyncIterator[conformance.Bench]:
        local = Local(tmp_path)
        async with local.host:
            yield conformance.Bench(local.host.runs, local.accept, local.gate.set, local.reopen)
            local.gate.set()


class TestReplayedLocalHost(conformance.RunsSuite):
    """As on Azure."""

    @pytest.fixture
    async def bench(self, tmp_path: pathlib.Path) -> AsyncIterator[conformance.Bench]:
        local = Local(tmp_path, replay=True)
        async with local.host:
            yield conformance.Bench(local.host.runs, local.accept, local.gate.set, local.reopen)
            local.gate.set()


class TestBridgedLocalHost(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self, tmp_path: pathlib.Path, elsewhere: Elsewhere) -> AsyncIterator[conformance.Bench]:
        local = Local(tmp_path)

        async def reopen() -> runs.Runs:
            return bridge.BridgedRuns(await elsewhere.call(local.reopen()), elsewhere.loop)

        async with contextlib.AsyncExitStack() as stack:
            await elsewhere.call(local.host.__aenter__())
            stack.push_async_callback(lambda: elsewhere.call(local.host.__aexit__()))
            bridged = bridge.BridgedRuns(local.host.runs, elsewhere.loop)
            yield conformance.Bench(bridged, local.accept, lambda: elsewhere.open(local.gate), reopen)
            elsewhere.open(local.gate)
