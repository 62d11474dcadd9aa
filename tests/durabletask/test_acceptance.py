"""What was accepted, when whoever accepted it died before the scheduler was told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from tests.conformance import workflows
from tests.durabletask import hosting
from tests.durabletask.scheduler import Scheduler

from perdure import errors
from perdure.hosts.durabletask import client, hub, sdk
from perdure.hosts.replay import decisions, starts
from perdure.payloads import records, refs, store
from perdure.workflow import options


class Deaf(client.SchedulerClient):
    """A client whose events do not arrive."""

    def __init__(self, where: sdk.Address) -> None:
        super().__init__(where)
        self.lost = 0

    async def raise_event(self, instance_id: str, name: str, data: str) -> None:
        self.lost += 1


class Cut(store.MemoryPayloadStore):
    """A store that is cut off while the first payload is on its way to it."""

    cut = True

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        if self.cut:
            self.cut = False
            raise errors.HubError("The line was cut.")
        await super().put(owner, blobs)


async def test_a_run_is_told_again_of_an_answer_that_it_never_heard_of(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = hub.Stores(store.MemoryPayloadStore(), records.MemoryRecordStore())
    app = workflows.app_of(asyncio.Event())
    async with hosting.SchedulerHost(app, scheduler=scheduler, stores=kept) as host:
        made = hub.Hub(app, sdk.address(scheduler.address, "test"), kept)
        deaf = Deaf(made.where)
        dying = made.runs(deaf)
        await host.start("asking", "how many", run_id="r1")
        async for event in host.runs.follow("r1"):
            if event.type == "parked":
                break
        run = await dying.get("r1")
        assert run is not None
        [asked] = run.requests
        assert await dying.answer("r1", asked.id, b"7", "application/json") == "accepted"
        assert deaf.lost == 1

        looked = await host.runs.get("r1")
        assert looked is not None and not looked.requests and looked.status == "Running"

        monkeypatch.setattr(decisions, "UNHEARD_SECONDS", 1e-9)
        for _ in range(100):
            await dying.get("r1")
        assert deaf.lost < 30, "each look is an event"
        monkeypatch.setattr(decisions, "UNHEARD_SECONDS", 1e-12)
        await host.runs.get("r1")
        assert await host.outputs("r1", timeout=20) == [7]
        await deaf.close()


async def test_a_start_whose_payload_did_not_arrive_is_started_by_the_next_with_its_own(scheduler: Scheduler) -> None:
    kept = hub.Stores(Cut(), records.MemoryRecordStore())
    app = workflows.app_of(asyncio.Event())
    async with hosting.SchedulerHost(app, scheduler=scheduler, stores=kept) as host:
        made = hub.Hub(app, sdk.address(scheduler.address, "test"), kept)
        connected = made.connect()
        starting = starts.Starts(connected, kept.payloads, kept.records, inline_bytes=0)
        ref, blobs = app.hosted_workflows["echo"].take("hello")
        digest = options.digest(ref, options.NONE)
        first, second = (
            made.bounds["echo"].start(ref, {"traceparent": f"00-{call:032x}-{1:016x}-01"}) for call in (1, 2)
        )
        name = made.bounds["echo"].orchestrator.name

        with pytest.raises(errors.HubError, match="cut"):
            await starting.start(name, "r1", first, digest, blobs)
        await starting.start(name, "r1", second, digest, blobs)

        assert await host.outputs("r1", timeout=20) == ["hello"]
        await connected.close()
