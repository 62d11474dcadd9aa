from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from perdure.engine import engine, instance
from perdure.payloads import store
from perdure.testing import memory_engine
from perdure.testing.conformance import orchestrations as conformance
from perdure.workflow import protocol

Orchestrators = Mapping[str, protocol.Orchestrator]
Activities = Mapping[str, protocol.Activity]


class Memory:
    """The twin, as the suite drives it."""

    def __init__(self, twin: memory_engine.MemoryEngine) -> None:
        self._twin = twin
        self.payloads = twin.payloads
        self.begin = twin.begin
        self.raise_event = twin.raise_event
        self.wait = twin.wait
        self.stop = twin.stop
        self.start = twin.start
        self.close = twin.stop

    async def owner(self, instance_id: str) -> str:
        return instance_id

    async def events(self, instance_id: str) -> Sequence[tuple[int, bytes]]:
        return list(enumerate(self._twin.events[instance_id], 1))

    async def status(self, instance_id: str) -> bytes | None:
        return self._twin.statuses[instance_id]


class Durable:
    """The embedded engine, as the suite drives it."""

    def __init__(self, folder: pathlib.Path, orchestrators: Orchestrators, activities: Activities, kind: str) -> None:
        self._hub = (folder, orchestrators, activities)
        self._kind = kind
        self._engine = self._make()

    def _make(self) -> engine.Engine:
        folder, orchestrators, activities = self._hub
        return engine.Engine(folder, orchestrators=orchestrators, activities=activities)

    @property
    def payloads(self) -> store.PayloadStore:
        return self._engine.payloads

    async def owner(self, instance_id: str) -> str:
        return instance_id

    async def begin(self, name: str, instance_id: str, call: bytes) -> bool:
        return (await self._engine.begin(name, instance_id, call))[1]

    async def raise_event(self, instance_id: str, name: str, data: bytes) -> bool:
        return await self._engine.raise_event(instance_id, name, data)

    async def wait(self, instance_id: str, seconds: float) -> protocol.Ended | None:
        view = await self._engine.wait(instance_id, seconds)
        return None if view is None or not view.ended else protocol.Ended(view.output, view.failure)

    async def events(self, instance_id: str) -> Sequence[tuple[int, bytes]]:
        return [(event.id, event.data) for event in self._engine.events(instance_id)]

    async def status(self, instance_id: str) -> bytes | None:
        view = self._engine.view(instance_id)
        assert view is not None
        return view.custom_status

    async def stop(self) -> None:
        await (self._engine.crash() if self._kind == "killed" else self._engine.close())

    async def start(self) -> None:
        self._engine = self._make()
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()


@pytest.mark.parametrize("rebuild_every", [0, 1, 3])
class TestMemoryEngine(conformance.OrchestrationsSuite):
    @pytest.fixture
    async def bench(self, rebuild_every: int) -> AsyncIterator[conformance.Bench]:
        async def open_twin(orchestrators: Orchestrators, activities: Activities) -> conformance.Backend:
            return Memory(memory_engine.MemoryEngine(orchestrators, activities, rebuild_every=rebuild_every))

        made = conformance.Bench(open_twin)
        yield made
        await made.close()


@pytest.mark.parametrize("kind", ["killed", "closed", "parking"])
class TestEngine(conformance.OrchestrationsSuite):
    """Killed or closed for each rebuild; and with instances that leave memory while a timer is near."""

    @pytest.fixture
    async def bench(
        self, tmp_path: pathlib.Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[conformance.Bench]:
        if kind == "parking":
            monkeypatch.setattr(instance, "STAY_FOR_TIMER_SECONDS", 0.0)

        async def open_engine(orchestrators: Orchestrators, activities: Activities) -> conformance.Backend:
            durable = Durable(tmp_path / "hub", orchestrators, activities, kind)
            await durable.start()
            return durable

        made = conformance.Bench(open_engine)
        yield made
        await made.close()
