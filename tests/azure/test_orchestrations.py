"""The orchestrations that every host runs, through the official SDK and with the Durable extension's own scheduling."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Mapping, Sequence

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests import polling
from tests.unit.replay import endings

from perdure.agents import hosted as agents
from perdure.engine import engine
from perdure.hosts.azure import beside, orchestration, registration
from perdure.hosts.local import replayed, sessions
from perdure.hosts.local import runs as engine_runs
from perdure.hosts.local.functions import agents as agent_entities
from perdure.hosts.local.functions import declared, service, workflows
from perdure.hosts.replay import activities, life, lives, log, start_records, starts, wire
from perdure.payloads import records, store
from perdure.testing.conformance import orchestrations as conformance
from perdure.testing.conformance.orchestrations import bench as benches
from perdure.workflow import protocol

Orchestrators = Mapping[str, protocol.Orchestrator]
Activities = Mapping[str, protocol.Activity]


class Replayed:
    """The embedded engine as a Durable Functions host."""

    def __init__(self, folder: pathlib.Path, orchestrators: Orchestrators, work: Activities) -> None:
        self._folder = folder
        self._orchestrators = orchestrators
        self._work = work
        self._records = records.MemoryRecordStore()
        self._log = log.Log(self._records)
        self._store = store.MemoryPayloadStore()

    @property
    def payloads(self) -> store.PayloadStore:
        return self._store

    async def start(self) -> None:
        app = df.DFApp()
        self._lives = lives.Replays()
        registration.add_orchestrators(app, self._orchestrators.values(), self._lives)
        performing = activities.Activities(self._work, self._store, self._records)
        aside = beside.Beside({}, self._store, self._records)
        registration.add_activities(app, self._work, performing, aside)
        flows = workflows.Workflows({})
        self._functions = service.Functions(declared.of(app), self._folder, "default", flows)
        self._engine = engine.Engine(
            self._folder / "hub",
            orchestrators=self._functions.orchestrators,
            activities=self._functions.activities,
        )
        none: dict[str, agents.Bound] = {}
        living = agent_entities.Agents(none, sessions.EngineSessions(self._engine, none))
        self._functions.attach(self._engine, living, engine_runs.EngineRuns(self._engine, {}))
        self._client = replayed.InstancesClient(self._functions.instances, self._records)
        self._starts = starts.Starts(self._client, self._store, self._records, orchestration.CALL_LIMIT_BYTES)
        await self._engine.start()
        await self._functions.start()

    async def owner(self, instance_id: str) -> str:
        return await start_records.owner(self._records, instance_id)

    async def begin(self, name: str, instance_id: str, call: bytes) -> bool:
        return (await self._starts.start(name, instance_id, call))[1]

    async def raise_event(self, instance_id: str, name: str, data: bytes) -> bool:
        state = await self._client.get(instance_id)
        if "." in instance_id:
            # A child's: it is there only after its parents' turns.
            state = await polling.until(lambda: self._client.get(instance_id), lambda state: state is not None)
        if state is None or state.ended:
            return False
        await self._client.raise_event(instance_id, wire.EVENT, wire.pack(wire.Heard(name, data)))
        return True

    async def wait(self, instance_id: str, seconds: float) -> protocol.Ended | None:
        return await endings.wait(self._client, self._records, instance_id, seconds)

    async def events(self, instance_id: str) -> Sequence[tuple[int, bytes]]:
        state = await self._client.get(instance_id)
        assert state is not None
        return [
            (event.id, event.data)
            for event in await self._log.read(await self.owner(instance_id), 0, 10_000, state.tail[0])
        ]

    async def status(self, instance_id: str) -> bytes | None:
        state = await self._client.get(instance_id)
        assert state is not None
        assert state.custom_status is not None, "a custom status is never empty"
        return wire.unpack(state.custom_status, wire.Status).value

    async def stop(self) -> None:
        await self._engine.crash()
        self._lives.close()
        await self._functions.close()

    async def close(self) -> None:
        await self._engine.close()
        self._lives.close()
        await self._functions.close()


@pytest.mark.parametrize("landings", [life.KEEP_EVERY_LANDINGS, 1])
class TestReplayed(conformance.SharedSuite):
    """With lives as long as they are, and with one for every state that is kept."""

    @pytest.fixture
    async def bench(
        self, tmp_path: pathlib.Path, landings: int, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[conformance.Bench]:
        monkeypatch.setattr(life, "KEEP_EVERY_LANDINGS", landings)

        async def open_engine(orchestrators: Orchestrators, work: Activities) -> conformance.Backend:
            replaying = Replayed(tmp_path, orchestrators, work)
            await replaying.start()
            return replaying

        made = conformance.Bench(open_engine)
        yield made
        await made.close()

    async def test_nothing_that_is_out_holds_up_what_is_new(
        self, bench: conformance.Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Beside an activity that never ends and a timer that is far off, step follows step, and an event is heard."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            seen.clear()  # Another life sees it all again.
            host.activity("held", "held", 1)
            host.activity("s0", "same", 0)
            host.timer("far", host.now + 3600)
            seen.note((yield).key)
            # New beside what is older: when that lands, what follows is not to wait for this.
            host.activity("endless", "gate", 1)
            seen.note((yield).key)
            for step in range(1, 4):
                host.activity(f"s{step}", "same", step)
                seen.note((yield).key)
            host.timer("near", host.now + 0.02)
            seen.note((yield).key)
            seen.note((yield).key)
            return protocol.Ended(benches.encode(list(seen)))

        seen = benches.Notes()
        endless, held = bench.gate(), bench.gate("held")
        bench.program("beside", program)
        await bench.begin("beside", "a")
        await endless.enter()
        held.open.set()
        await seen.upto(6)
        await bench.send("a", "go")
        assert await bench.output("a") == ["s0", "held", "s1", "s2", "s3", "near", "go"]
        assert "held up" not in caplog.text
