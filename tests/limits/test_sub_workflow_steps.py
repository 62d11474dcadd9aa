"""What passes through the engine for a step of a sub-workflow does not grow with what that one keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from agent_framework import (
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    handler,
    response_handler,
)

from perdure import AgentFunctionApp
from perdure.hosts.local import host as local
from perdure.workflow import activity, orchestrator, protocol

TURNS = 30
TOLD = 10
KEYS = 2_000
QUESTION_BYTES = 400
LIMIT_BYTES = 5 * 1024
"""A fifth of it for the trace contexts of ten messages, where another test has spans recorded in this process."""


class Keeper(Executor):
    """Fills the state, asks a question in each turn that nobody answers, and yields a lot."""

    @handler
    async def go(self, turn: int, ctx: WorkflowContext[int, int]) -> None:
        if turn == 1:
            for number in range(KEYS):
                ctx.set_state(f"key:{number}", f"value of {number}")
        ctx.set_state(f"key:{turn}", f"changed in turn {turn}")
        await ctx.request_info({"turn": turn, "text": "x" * QUESTION_BYTES}, str)
        await ctx.send_message(turn)

    @response_handler
    async def hear(self, asked: dict[str, Any], answer: str, ctx: WorkflowContext[int, int]) -> None:
        raise AssertionError("nobody answers")


class Teller(Executor):
    """Yields what it is given many times."""

    @handler
    async def tell(self, turn: int, ctx: WorkflowContext[int, int]) -> None:
        for _ in range(TOLD):
            await ctx.yield_output(turn)


class Counter(Executor):
    """Gives the sub-workflow its next turn when the one before has told all."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.heard = 0

    @handler
    async def count(self, turn: int, ctx: WorkflowContext[int, int]) -> None:
        self.heard += 1
        if self.heard % TOLD == 1 and turn < TURNS:
            await ctx.send_message(turn + 1)
        if turn == TURNS and self.heard % TOLD == 1:
            await ctx.yield_output(turn)


def build() -> Workflow:
    keeper, teller = Keeper(id="keeper"), Teller(id="teller")
    inner = WorkflowBuilder(start_executor=keeper, name="inner").add_edge(keeper, teller).build()
    child, counter = WorkflowExecutor(inner, id="child", propagate_request=True), Counter(id="counter")
    builder = WorkflowBuilder(name="flow", start_executor=child, max_iterations=1000)
    return builder.add_edge(child, counter).add_edge(counter, child).build()


async def test_a_step_inside_costs_the_same_whatever_the_sub_workflow_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, list[int]] = {}
    run = activity.Activities.__call__

    async def counted(
        self: activity.Activities, instance_id: str, key: str, call: orchestrator.Call
    ) -> protocol.Outcome:
        outcome = await run(self, instance_id, key, call)
        name = "exit" if call.turned is not None else call.delivery.executor
        if name != "counter":
            sizes.setdefault(name, []).append(len(msgspec.msgpack.encode(call)) + len(outcome.data))
        return outcome

    monkeypatch.setattr(activity.Activities, "__call__", counted)
    async with local.LocalHost(AgentFunctionApp(workflow=build())) as host:
        started = await host.start("flow", 1)
        async with asyncio.timeout(120):
            async for event in host.runs.follow(started):
                if event.type == "parked":
                    break
        found = await host.runs.get(started)

    assert found is not None and len(found.requests) == TURNS
    assert {name: len(turns) for name, turns in sizes.items()} == dict.fromkeys(
        ("child", "keeper", "teller", "exit"), TURNS
    )
    assert TURNS * QUESTION_BYTES > 2 * LIMIT_BYTES, "what stays open would show"
    for name, turns in sizes.items():
        assert max(turns[1:]) <= LIMIT_BYTES, (name, turns)
