from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.hosts.local import bridge
from perdure.payloads import refs
from perdure.testing import memory_runs
from perdure.testing.conformance import runs as conformance


def accept(workflow: str, text: str) -> tuple[refs.Ref, list[refs.Blob]]:
    body = text.encode()
    return (refs.Ref(body), []) if len(body) <= refs.INLINE_LIMIT_BYTES else _stored(body)


def _stored(body: bytes) -> tuple[refs.Ref, list[refs.Blob]]:
    BODIES[refs.digest(body)] = body
    blob = refs.blob(body)
    return refs.stored(blob), [blob]


BODIES: dict[bytes, bytes] = {}


def programs(gate: asyncio.Event) -> dict[str, memory_runs.Program]:
    async def echo(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        emit("output", {})
        return [(value.inline if value.inline is not None else BODIES[value.digest]).decode()]

    async def failing(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        raise ValueError("no")

    async def gated(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        await gate.wait()
        return ["opened"]

    return {"echo": echo, "failing": failing, "gated": gated}


class TestMemoryRuns(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self) -> AsyncIterator[conformance.Bench]:
        gate = asyncio.Event()
        store = memory_runs.MemoryRuns(programs(gate))
        yield conformance.Bench(store, accept, gate.set)
        await store.close()


class TestBridgedRuns(conformance.RunsSuite):
    """The same from another thread's loop."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[conformance.Bench]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        gate = asyncio.Event()
        store = memory_runs.MemoryRuns(programs(gate))

        def release() -> None:
            loop.call_soon_threadsafe(gate.set)

        yield conformance.Bench(bridge.BridgedRuns(store, loop), accept, release)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(store.close(), loop))
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()
