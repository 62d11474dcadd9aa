"""What the engine's tests share: orchestrators out of generator functions, and an engine that can be restarted."""

from __future__ import annotations

import pathlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from perdure.engine import engine, records
from perdure.payloads import refs
from perdure.testing.conformance.orchestrations import bench
from perdure.workflow import protocol

PATIENCE_SECONDS = 20

Program = bench.Program
Resumed = bench.Resumed
Scripted = bench.Scripted
Gate = bench.Gate
encode = bench.encode
decode = bench.decode


class Lab:
    """An engine on a folder, with orchestrators and activities that a test adds to."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.orchestrators: dict[str, protocol.Orchestrator] = {}
        self.activities: dict[str, protocol.Activity] = {}
        self.ran: list[tuple[str, str]] = []
        self.now: float | None = None
        self.engine = self.make()

    def make(self) -> engine.Engine:
        return engine.Engine(self.folder, orchestrators=self.orchestrators, activities=self.activities)

    async def start(self) -> engine.Engine:
        self.engine = self.make()
        await self.engine.start()
        return self.engine

    async def restart(self) -> engine.Engine:
        await self.engine.close()
        return await self.start()

    async def crash(self) -> engine.Engine:
        await self.engine.crash()
        return await self.start()

    def program(self, name: str, program: Program, resumed: Resumed | None = None) -> None:
        self.orchestrators[name] = Scripted(name, program, resumed)

    def activity(
        self,
        name: str,
        work: Callable[[Any], Awaitable[Any]],
        blobs: Callable[[Any], Sequence[refs.Blob]] | None = None,
    ) -> None:
        async def run(instance_id: str, key: str, call: Any) -> protocol.Outcome:
            self.ran.append((instance_id, key))
            value = await work(call)
            return protocol.Outcome(value, encode(value), blobs(value) if blobs is not None else ())

        self.activities[name] = run

    async def ended(self, instance_id: str) -> records.InstanceView:
        view = await self.engine.wait(instance_id, PATIENCE_SECONDS)
        assert view is not None and view.ended, view
        return view


async def same(call: Any) -> Any:
    return call


def chain(host: protocol.Host, call: bytes) -> protocol.Steps:
    """So many activities one after another, an event for each; gives back the sum of their results."""
    total = 0
    for step in range(int(call)):
        host.activity(f"s{step}", "same", step)
        landed = yield
        if landed.kind == "failure":
            return protocol.Ended(failure=landed.value)
        total += landed.value
        host.emit(b"%d" % step)
    return protocol.Ended(output=encode(total))


def awaiting(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Waits for as many external events as its input says; gives back their data."""
    data = []
    for left in range(int(call), 0, -1):
        host.status(b"%d to come" % left)
        landed = yield
        host.emit(b"got " + landed.value)
        data.append(landed.value)
    return protocol.Ended(output=encode(data))
