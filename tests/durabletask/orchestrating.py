"""Orchestrations out of functions on a scheduler, without an app around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tests.durabletask import hosting
from tests.durabletask.scheduler import Scheduler
from tests.unit.replay import endings

from perdure.hosts.durabletask import client, sdk, worker
from perdure.hosts.replay import activities, log, start_records, starts, wire
from perdure.payloads import records, store
from perdure.workflow import protocol

Orchestrators = Mapping[str, protocol.Orchestrator]
Activities = Mapping[str, protocol.Activity]


class Hub:
    """A worker and a client of a scheduler, as the suite drives them.

    Args:
        scheduler: The scheduler.
        orchestrators: By durable name.
        given: The activities by durable name.
        release: Told the orchestrations that nothing needs to be kept for any more.

    Attributes:
        at_once: How many activities a worker that is started runs at a time.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        orchestrators: Orchestrators,
        given: Activities,
        release: Callable[[str], None] = lambda run: None,
    ) -> None:
        self._scheduler = scheduler
        self._orchestrators = orchestrators
        self._given = given
        self._release = release
        self.at_once = sdk.ACTIVITIES_AT_ONCE
        self.payloads = store.MemoryPayloadStore()
        self._records = records.MemoryRecordStore()
        self._log = log.Log(self._records)
        self._where = sdk.address(scheduler.address, "test")
        self.client = client.SchedulerClient(self._where)
        self._starts = starts.Starts(self.client, self.payloads, self._records)
        self._worker: worker.Worker | None = None

    async def owner(self, instance_id: str) -> str:
        return await start_records.owner(self._records, instance_id)

    async def begin(self, name: str, instance_id: str, call: bytes) -> bool:
        return (await self._starts.start(name, instance_id, call))[1]

    async def raise_event(self, instance_id: str, name: str, data: bytes) -> bool:
        # What is on its way to being there counts as there: a child whose parent is about to start it.
        await self._quiet()
        state = await self.client.get(instance_id)
        if state is None or state.ended:
            return False
        await self.client.raise_event(instance_id, wire.EVENT, wire.pack(wire.Heard(name, data)))
        await self._quiet()
        return True

    async def wait(self, instance_id: str, seconds: float) -> protocol.Ended | None:
        return await endings.wait(self.client, self._records, instance_id, seconds)

    async def events(self, instance_id: str) -> Sequence[tuple[int, bytes]]:
        await self._quiet()
        state = await self.client.get(instance_id)
        tail = () if state is None else state.tail[0]
        return [
            (event.id, event.data) for event in await self._log.read(await self.owner(instance_id), 0, 10_000, tail)
        ]

    async def status(self, instance_id: str) -> bytes | None:
        await self._quiet()
        state = await self.client.get(instance_id)
        assert state is not None
        return None if state.custom_status is None else wire.unpack(state.custom_status, wire.Status).value

    async def stop(self) -> None:
        stopped, self._worker = self._worker, None
        assert stopped is not None
        await hosting.kill(self._scheduler, stopped)

    async def retire(self) -> None:
        """Stop the worker as a process that is asked to; what it does is not waited for."""
        stopped, self._worker = self._worker, None
        assert stopped is not None
        await stopped.stop(0.0)

    async def start(self) -> None:
        work = activities.Activities(self._given, self.payloads, self._records, self._release)
        self._worker = worker.Worker(
            self._where, self._orchestrators, work, list(self._given), self.payloads, at_once=self.at_once
        )
        self._worker.start()

    async def close(self) -> None:
        if self._worker is not None:
            await self.stop()
        await self.client.close()

    async def _quiet(self) -> None:
        if self._worker is not None:
            await asyncio.to_thread(self._scheduler.until_quiet)
