"""Requests of which somebody was accepted with an answer that the run was not told, on engines that replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, response_handler
from tests.people import desk, nested, programs
from tests.replay import fronts
from tests.replay.conftest import Make
from tests.workflow import functions

from perdure import Deadline, Expired
from perdure.hosts.replay import start_records, wire
from perdure.routes import runs

NO = programs.Verdict(approved=False, reason="nobody was there")
YES = b'{"approved": true}'


class Escalation:
    """Somebody who is told of a request, and takes their time."""

    def __init__(self, given: Any) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self._given = given

    async def reached(self) -> None:
        """Wait until they are told."""
        await asyncio.wait_for(self.begun.wait(), desk.PATIENCE_SECONDS)

    async def __call__(self, expired: Expired) -> Any:
        self.begun.set()
        await self.go.wait()
        if isinstance(self._given, Exception):
            raise self._given
        return self._given


async def asked(host: Any, run: str, times: int = 1) -> tuple[runs.Pending, ...]:
    """Wait until a run waits for so many answers after another; gives what is open then."""
    async with asyncio.timeout(desk.PATIENCE_SECONDS):
        async for event in host.runs.follow(run):
            times -= event.type == "parked"
            if not times:
                break
    shown = await host.runs.get(run)
    open: tuple[runs.Pending, ...] = shown.requests
    return open


async def told(host: Any, run: str, type: str) -> list[Any]:
    """Give what a run has told of one kind."""
    return [event.data for event in await host.runs.events(run) if event.type == type]


@pytest.mark.parametrize("given", [NO, None, RuntimeError("no mail today")], ids=["answers", "leaves it", "raises"])
async def test_an_answer_accepted_while_an_escalation_is_out_goes_on_though_nobody_told_the_run(
    make_host: Make, given: Any
) -> None:
    """The events say that a person decided; what tells the run later tells nothing new."""
    escalation = Escalation(given)
    app = desk.app_of(programs.buying(), deadlines=Deadline(0.0, escalate=escalation))
    async with make_host(app) as host:
        front = fronts.mute(host)
        await host.start("workflow", 1, run_id="r")
        await escalation.reached()
        [request] = await asked(host, "r")
        assert await front.runs.answer("r", request.id, YES, "application/json") == "accepted"
        assert "raise_event" in front.engine.calls
        escalation.go.set()

        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["1:True:0"]
        [response] = await told(host, "r", "response")
    assert "by" not in response
    assert response["requestId"] == request.id


async def test_what_an_escalation_gives_first_is_the_answer_and_stays_it(make_host: Make) -> None:
    escalation = Escalation(NO)
    escalation.go.set()
    app = desk.app_of(programs.buying(), deadlines=Deadline(0.0, escalate=escalation))
    async with make_host(app) as host:
        await host.start("workflow", 1, run_id="r")
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["1:False:0"]
        [response] = await told(host, "r", "response")
    assert response["by"] == "deadline"


async def test_nobody_is_told_of_a_deadline_whose_request_was_answered_before(make_host: Make) -> None:
    escalation = Escalation(NO)
    app = desk.app_of(programs.buying(), deadlines=Deadline(1.5, escalate=escalation))
    async with make_host(app) as host:
        front = fronts.mute(host)
        await host.start("workflow", 1, run_id="r")
        [request] = await asked(host, "r")
        assert await front.runs.answer("r", request.id, YES, "application/json") == "accepted"
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["1:True:0"]
    assert not escalation.begun.is_set()


async def test_a_withdrawal_accepted_while_an_escalation_is_out_goes_on_too(make_host: Make) -> None:
    escalation = Escalation(NO)
    app = desk.app_of(programs.buying(), deadlines=Deadline(0.0, escalate=escalation))
    async with make_host(app) as host:
        front = fronts.mute(host)
        await host.start("workflow", 1, run_id="r")
        await escalation.reached()
        [request] = await asked(host, "r")
        assert await front.runs.withdraw("r", request.id) == "accepted"
        escalation.go.set()
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == []
        assert [data["requestId"] for data in await told(host, "r", "request_withdrawn")] == [request.id]
        assert await told(host, "r", "response") == []


@pytest.mark.parametrize(
    ("build", "body", "output"),
    [
        (lambda: nested.publishing(1), YES, ["published: hello (version 1 of 1)"]),
        (lambda: functions.mailing, b"true", ["True False"]),
    ],
    ids=["sub-workflow", "functional"],
)
async def test_it_is_so_for_sub_workflows_and_functions(
    make_host: Make, build: Callable[[], Any], body: bytes, output: list[str]
) -> None:
    escalation = Escalation(None)
    app = desk.app_of(build(), deadlines=Deadline(0.0, escalate=escalation))
    (name,) = app.workflows
    # Executors here mail addresses: it has one.
    async with make_host(app, port=0) as host:
        front = fronts.mute(host)
        await host.start(name, "hello", run_id="r")
        await escalation.reached()
        [request] = await asked(host, "r")
        assert await front.runs.answer("r", request.id, body, "application/json") == "accepted"
        escalation.go.set()
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == output


class Again(Executor):
    """Asks twice under one id, and yields what it heard."""

    def __init__(self) -> None:
        super().__init__(id="again")
        self.heard: list[str] = []

    @handler
    async def ask(self, question: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info({"question": question}, str, request_id="q")

    @response_handler(request=dict, response=str, workflow_output=str)
    async def hear(self, asked: Any, answer: str, ctx: WorkflowContext[Any, Any]) -> None:
        self.heard.append(answer)
        if len(self.heard) == 1:
            await ctx.request_info({"question": "and then"}, str, request_id="q")
        else:
            await ctx.yield_output(", ".join(self.heard))


async def test_what_was_decided_of_a_request_does_not_decide_a_later_one_under_its_id(make_host: Make) -> None:
    """Though the run is told of it once more, as whoever comes second tells it."""
    async with make_host(desk.app_of(WorkflowBuilder(start_executor=Again()).build())) as host:
        front = fronts.Front(host)
        await host.start("workflow", "what", run_id="r")
        await asked(host, "r")
        assert await host.runs.answer("r", "q", b'"one"', "application/json") == "accepted"
        await asked(host, "r", 2)
        owner = await start_records.owner(host.runs._records, "r")
        [name] = await front.records.names(owner, wire.REQUEST)
        body = await front.records.get(owner, name)
        assert body is not None
        await host.runs._engine.raise_event("r", wire.EVENT, wire.pack(wire.decode(body, wire.Heard)))
        assert await host.runs.answer("r", "q", b'"two"', "application/json") == "accepted"
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["one, two"]
