from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Never

import pytest
from agent_framework import Workflow, WorkflowBuilder, WorkflowContext, executor
from tests.durabletask import hosting
from tests.workflow import support

from perdure import errors
from perdure.hosts.durabletask import hub
from perdure.payloads import records, refs, store


class Away:
    """Whether a store can be had."""

    def __init__(self) -> None:
        self.now = False

    def check(self) -> None:
        if self.now:
            raise errors.HubError("The disk is on a journey.", "Wait for it.")


class Payloads(store.MemoryPayloadStore):
    def __init__(self, away: Away) -> None:
        super().__init__()
        self._away = away

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        self._away.check()
        await super().put(owner, blobs)


class Records(records.MemoryRecordStore):
    def __init__(self, away: Away) -> None:
        super().__init__()
        self._away = away

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        self._away.check()
        return await super().put_if_absent(owner, name, body)

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        return await super().names(owner, prefix, after)


def flow(gate: asyncio.Event, entered: asyncio.Event) -> Workflow:
    @executor(id="first")
    async def first(text: str, ctx: WorkflowContext[str]) -> None:
        entered.set()
        await gate.wait()
        await ctx.send_message(text * 10_000)

    @executor(id="second")
    async def second(text: str, ctx: WorkflowContext[Never, int]) -> None:
        await ctx.yield_output(len(text))

    return WorkflowBuilder(name="flow", start_executor=first, output_from="all").add_edge(first, second).build()


async def test_a_store_that_is_away_holds_a_run_up_and_fails_nothing() -> None:
    """The status says why; when the store is back the run goes on."""
    away, gate, entered = Away(), asyncio.Event(), asyncio.Event()
    stores = hub.Stores(Payloads(away), Records(away))
    async with hosting.SchedulerHost(support.app_of(flow(gate, entered)), stores=stores) as host:
        run = await host.start("flow", "ab")
        await entered.wait()
        away.now = True
        gate.set()
        async with asyncio.timeout(20):
            while (waiting := await host.runs.get(run)) is None or not (waiting.custom_status or {}).get("waitingFor"):
                await asyncio.sleep(0.02)
        with pytest.raises(errors.HubError, match="journey"):
            await host.start("flow", "cd")
        away.now = False
        assert await host.outputs(run) == [20_000]
        told = await host.runs.events(run)
    assert "on a journey" in waiting.custom_status["waitingFor"]
    assert waiting.status == "Running"
    assert [event.id for event in told] == list(range(1, len(told) + 1))
