"""Answers that the engine drops: a run that continues as new loses the events that came meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, response_handler
from tests.people import desk

from perdure.hosts.local import host, replayed
from perdure.hosts.replay import life


class Source(Executor):
    """Sends to both."""

    @handler
    async def go(self, left: int, ctx: WorkflowContext[int]) -> None:
        await ctx.send_message(left)


class Asker(Executor):
    """Asks a person."""

    @handler
    async def ask(self, left: int, ctx: WorkflowContext[int, str]) -> None:
        await ctx.request_info("Well?", str)

    @response_handler
    async def hear(self, question: str, answer: str, ctx: WorkflowContext[int, str]) -> None:
        await ctx.yield_output(answer)


class Round(Executor):
    """Goes round so many times, once it may."""

    def __init__(self, id: str, may: asyncio.Event) -> None:
        super().__init__(id)
        self.may = may

    def __deepcopy__(self, memo: object) -> Round:
        return Round(self.id, self.may)

    @handler
    async def go(self, left: int, ctx: WorkflowContext[int]) -> None:
        await self.may.wait()
        if left:
            await ctx.send_message(left - 1)


def workflow(may: asyncio.Event) -> Workflow:
    source, asker, one, other = Source("source"), Asker("asker"), Round("one", may), Round("other", may)
    builder = WorkflowBuilder(name="flow", start_executor=source).add_edge(source, asker).add_edge(source, one)
    return builder.add_edge(one, other).add_edge(other, one).build()


async def test_an_answer_whose_event_was_dropped_is_heard_when_the_run_has_continued_as_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def drop(self: object, instance_id: str, name: str, data: str) -> None:
        """As the engine does with what comes while an orchestration continues as new."""

    may = asyncio.Event()
    app = desk.app_of(workflow(may))
    async with host.LocalHost(app, replay=True) as hosting:
        run = await hosting.start("flow", life.KEEP_EVERY_LANDINGS + 2)
        request = ""
        async for event in hosting.runs.follow(run):
            if event.type == "request_info":
                request = event.data["requestId"]
                break
        monkeypatch.setattr(replayed.InstancesClient, "raise_event", drop)
        assert await hosting.runs.answer(run, request, b"Yes.", "text/plain") == "accepted"
        may.set()
        assert await hosting.outputs(run, timeout=20) == ["Yes."]
