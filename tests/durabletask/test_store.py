from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Never

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler, response_handler
from tests import polling
from tests.durabletask import hosting
from tests.workflow import support

from perdure import errors
from perdure.hosts.durabletask import hub
from perdure.hosts.replay import decisions
from perdure.payloads import records, refs, store
from perdure.routes import runs as routed


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


class Asked(records.MemoryRecordStore):
    """Knows what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def get(self, owner: str, name: str) -> bytes | None:
        self.asked.append(name)
        return await super().get(owner, name)

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        self.asked.append(f"{prefix}*")
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


def waits(run: routed.Run | None) -> bool:
    return run is not None and "waitingFor" in (run.custom_status or {})


async def test_a_store_that_is_away_holds_a_run_up_and_fails_nothing() -> None:
    """The status says why; when the store is back the run goes on."""
    away, gate, entered = Away(), asyncio.Event(), asyncio.Event()
    stores = hub.Stores(Payloads(away), Records(away))
    async with hosting.SchedulerHost(support.app_of(flow(gate, entered)), stores=stores) as host:
        run = await host.start("flow", "ab")
        await entered.wait()
        away.now = True
        gate.set()
        waiting = await polling.until(lambda: host.runs.get(run), waits)
        with pytest.raises(errors.HubError, match="journey"):
            await host.start("flow", "cd")
        away.now = False
        assert await host.outputs(run) == [20_000]
        told = await host.runs.events(run)
    assert waiting is not None and waiting.custom_status is not None
    assert "on a journey" in waiting.custom_status["waitingFor"]
    assert waiting.status == "Running"
    assert [event.id for event in told] == list(range(1, len(told) + 1))


class Asks(Executor):
    @handler
    async def ask(self, questions: int, ctx: WorkflowContext[Never, int]) -> None:
        for number in range(questions):
            await ctx.request_info(number, str)

    @response_handler
    async def told(self, question: int, said: str, ctx: WorkflowContext[Never, int]) -> None:
        await ctx.yield_output(question)


@pytest.mark.parametrize("open", [0, 1, decisions.FEW_REQUESTS + 1])
async def test_looking_at_a_run_asks_for_what_became_of_its_requests_and_no_more(open: int) -> None:
    """A record is a request that is paid for, a list of them costs twelve: the run's own status says the rest."""
    kept = Asked()
    flow = WorkflowBuilder(name="asks", start_executor=Asks("asks"), output_from="all").build()
    stores = hub.Stores(store.MemoryPayloadStore(), kept)
    async with hosting.SchedulerHost(support.app_of(flow), stores=stores) as host:
        run = await host.start("asks", open)
        if not open:
            await host.outputs(run)
        await polling.until(
            lambda: host.runs.get(run), lambda looked: looked is not None and len(looked.requests) == open
        )
        kept.asked.clear()
        looked = await host.runs.get(run)
    assert looked is not None
    assert len(looked.requests) == open
    if open <= decisions.FEW_REQUESTS:
        assert [name.split("/")[0] for name in kept.asked] == ["request"] * open
    else:
        assert kept.asked == ["request/*"]
