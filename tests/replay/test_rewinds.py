"""Runs that are rewound by two at once, while they are deleted, or that were told something as they failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler, response_handler
from tests.people import desk
from tests.replay import fronts
from tests.replay.conftest import Make

from perdure import AgentFunctionApp
from perdure.hosts.replay import decisions, deletions, rewinds, start_records


class Mood:
    """Whether an executor fails, and how often it was asked; and what it waits for first."""

    def __init__(self) -> None:
        self.fails = True
        self.tried = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def executor(self) -> Executor:
        """Make the executor."""

        @executor(id="moody")
        async def moody(value: str, ctx: WorkflowContext[str, str]) -> None:
            await self.gate.wait()
            self.tried += 1
            if self.fails:
                raise ValueError("not today")
            await ctx.yield_output(value)

        return moody

    def app(self) -> AgentFunctionApp:
        """Host it alone."""
        return desk.app_of(WorkflowBuilder(start_executor=self.executor()).build())


class Asking(Executor):
    @handler
    async def ask(self, value: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info({"question": value}, str)

    @response_handler(request=dict, response=str, workflow_output=str)
    async def hear(self, asked: Any, answer: str, ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.yield_output(answer)


class Spread(Executor):
    @handler
    async def spread(self, value: str, ctx: WorkflowContext[str]) -> None:
        await ctx.send_message(value)


def beside(mood: Mood) -> Workflow:
    """One asks while another fails."""
    spread = Spread(id="spread")
    both: list[Any] = [Asking(id="asking"), mood.executor()]
    return WorkflowBuilder(start_executor=spread, output_from="all").add_fan_out_edges(spread, both).build()


async def failed(host: Any) -> None:
    run = await host.runs.wait("r", desk.PATIENCE_SECONDS)
    assert run.status == "Failed", run


@contextlib.asynccontextmanager
async def failing(make_host: Make, mood: Mood) -> AsyncIterator[Any]:
    """Give a host whose run has failed."""
    async with make_host(mood.app()) as host:
        await host.start("workflow", "hello", run_id="r")
        await failed(host)
        yield host


async def test_of_two_who_rewind_a_run_at_once_one_does(make_host: Make) -> None:
    """Though the other is so slow that it has failed again meanwhile: what it told then is not told anew."""
    mood = Mood()
    async with failing(make_host, mood) as host:
        slow = fronts.Front(host)
        slow.records.held = asyncio.Event()
        rewinding = asyncio.create_task(slow.runs.rewind("r"))
        await slow.records.reached("put_if_absent")
        assert await host.runs.rewind("r")
        await failed(host)
        told = [(event.id, event.type) for event in await host.runs.events("r")]
        slow.records.held.set()
        assert not await rewinding
        assert mood.tried == 2
        assert [(event.id, event.type) for event in await host.runs.events("r")] == told

        mood.fails = False
        assert await host.runs.rewind("r")
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["hello"]
        assert [event.type for event in await host.runs.events("r")].count("rewound") == 2


async def test_a_rewind_of_one_who_died_before_the_engine_was_told_is_done_again(
    make_host: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mood = Mood()
    async with failing(make_host, mood) as host:
        front = fronts.Front(host)
        front.engine.lost.add("start_again")
        assert not await front.runs.rewind("r")
        assert not await host.runs.rewind("r")
        monkeypatch.setattr(rewinds, "REWIND_SECONDS", 0.0)
        mood.fails = False
        assert await host.runs.rewind("r")
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["hello"]


async def test_a_run_that_is_deleted_while_it_is_rewound_does_not_come_back(make_host: Make) -> None:
    mood = Mood()
    async with failing(make_host, mood) as host:
        front = fronts.Front(host)
        front.engine.held = asyncio.Event()
        rewinding = asyncio.create_task(front.runs.rewind("r"))
        await front.engine.reached("start_again")
        assert await host.runs.purge("r")
        front.engine.held.set()
        assert not await rewinding
        assert await host.runs._engine.get("r") is None
        assert await host.runs.get("r") is None
        assert list(await front.records.names("r", start_records.START)) == []


async def test_a_run_that_went_on_before_it_could_be_deleted_is_deleted_at_no_other_time(
    make_host: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked was told that it goes on: it may fail and be rewound again, and stays when it has ended."""
    mood = Mood()
    async with failing(make_host, mood) as host:
        front = fronts.Front(host)
        front.records.held = asyncio.Event()
        deleting = asyncio.create_task(front.runs.purge("r"))
        await front.records.reached("put_if_absent")
        mood.gate.clear()
        assert await host.runs.rewind("r")
        front.records.held.set()
        assert not await deleting
        mood.gate.set()
        await failed(host)
        monkeypatch.setattr(deletions, "LATE_SECONDS", 0.0)
        await host.runs._starts.deletions.sweep()
        mood.fails = False
        assert await host.runs.rewind("r")
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["hello"]
        assert await host.runs.purge("r")
        assert await host.runs.get("r") is None


async def test_an_answer_that_was_accepted_as_a_run_failed_is_heard_when_it_is_rewound(make_host: Make) -> None:
    """Though nobody told it before it had failed."""
    mood = Mood()
    mood.gate.clear()
    async with make_host(desk.app_of(beside(mood))) as host:
        front = fronts.mute(host)
        await host.start("workflow", "hello", run_id="r")
        async with asyncio.timeout(desk.PATIENCE_SECONDS):
            async for event in host.runs.follow("r"):
                if event.type == "request_info":
                    break
        run = await host.runs.get("r")
        assert run is not None
        [asked] = run.requests
        assert await front.runs.answer("r", asked.id, b'"late"', "application/json") == "accepted"
        mood.gate.set()
        await failed(host)
        mood.fails = False
        assert await host.runs.rewind("r")
        assert sorted(await host.outputs("r", timeout=desk.PATIENCE_SECONDS)) == ["hello", "late"]


async def test_an_answer_of_which_the_engine_could_not_be_told_is_accepted_all_the_same(
    make_host: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sent it would be told that another had answered, if they sent it again."""
    async with make_host(desk.app_of(WorkflowBuilder(start_executor=Asking(id="asking")).build())) as host:
        front = fronts.Front(host)
        front.engine.refused.add("raise_event")
        await host.start("workflow", "hello", run_id="r")
        async with asyncio.timeout(desk.PATIENCE_SECONDS):
            async for event in host.runs.follow("r"):
                if event.type == "parked":
                    break
        run = await host.runs.get("r")
        assert run is not None
        [asked] = run.requests
        assert await front.runs.answer("r", asked.id, b'"yes"', "application/json") == "accepted"
        monkeypatch.setattr(decisions, "UNHEARD_SECONDS", 1e-9)
        await host.runs.get("r")
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["yes"]
