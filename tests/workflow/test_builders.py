from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import Agent, AgentExecutorResponse, Executor, Message, Workflow, WorkflowContext, handler
from agent_framework_orchestrations import ConcurrentBuilder, SequentialBuilder
from tests.workflow import support, teams

from perdure import testing


def _agent(name: str) -> Agent[Any]:
    def answer(messages: Any, options: Any) -> str:
        return f"{name} saw {[message.text for message in messages]}"

    return Agent(testing.ScriptedChatClient(answer), name=name, id=name, instructions=f"You are {name}.")


class Shortens(Executor):
    """Stands among the agents of a sequence."""

    @handler
    async def go(self, said: AgentExecutorResponse, ctx: WorkflowContext[list[Message], Any]) -> None:
        await ctx.send_message(said.full_conversation[-1:])


def _sequence() -> Workflow:
    return SequentialBuilder(participants=[_agent("writer"), _agent("critic"), _agent("editor")]).build()


def _sequence_with_executor() -> Workflow:
    return SequentialBuilder(participants=[_agent("writer"), Shortens(id="shortens"), _agent("editor")]).build()


def _sequence_of_responses() -> Workflow:
    return SequentialBuilder(participants=[_agent("writer"), _agent("critic")], chain_only_agent_responses=True).build()


def _sequence_with_intermediate() -> Workflow:
    writer, critic = _agent("writer"), _agent("critic")
    return SequentialBuilder(participants=[writer, critic], intermediate_output_from=[writer]).build()


def _concurrent() -> Workflow:
    return ConcurrentBuilder(participants=[_agent("physicist"), _agent("chemist"), _agent("poet")]).build()


def _concurrent_with_callback() -> Workflow:
    def join(results: list[AgentExecutorResponse]) -> str:
        return " | ".join(f"{result.executor_id}: {result.agent_response.text}" for result in results)

    return ConcurrentBuilder(participants=[_agent("physicist"), _agent("poet")]).with_aggregator(join).build()


BUILDERS: dict[str, Callable[[], Workflow]] = {
    "sequential": _sequence,
    "sequential with an executor": _sequence_with_executor,
    "sequential, responses only": _sequence_of_responses,
    "sequential with intermediate outputs": _sequence_with_intermediate,
    "concurrent": _concurrent,
    "concurrent with a callback": _concurrent_with_callback,
}


TEAMS: dict[str, Callable[[], Workflow]] = {
    "group chat": teams.group_chat,
    "group chat until a condition": teams.group_chat_until,
    "group chat with intermediate outputs": teams.group_chat_with_intermediate,
    "group chat led by an agent": teams.group_chat_with_chair,
    "group chat with a tool to approve": teams.group_chat_with_publisher,
    "group chat with people": teams.group_chat_with_people,
    "group chat of one's own": teams.group_chat_of_ones_own,
    "handoff": teams.handoff,
    "handoff until a condition": teams.handoff_until,
    "handoff in autonomous mode": teams.handoff_alone,
    "handoff with a tool to approve": teams.handoff_with_approval,
    "magentic": teams.magentic,
    "magentic that stalls": teams.magentic_that_stalls,
    "magentic with plan review": teams.magentic_reviewed,
    "magentic with a tool to approve": teams.magentic_with_approval,
    "magentic at its limit": teams.magentic_at_its_limit,
    "sequential with people": teams.sequence_with_people,
    "sequential with people everywhere": teams.sequence_with_people_last,
    "concurrent with people": teams.concurrent_with_people,
}


@pytest.mark.parametrize("name", TEAMS)
async def test_team_runs_hosted_as_in_process(name: str) -> None:
    """GroupChat, Handoff and Magentic run hosted, those whom they ask included, whatever restarts come between."""
    result = await support.both(TEAMS[name], "run-1, please publish", answer=teams.answers)
    assert result.failure is None
    assert result.outputs


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(
    "value", ["hello", Message("user", ["hello"]), [Message("user", ["one"]), "two"]], ids=["text", "message", "list"]
)
async def test_stock_builder_runs_hosted(name: str, value: Any) -> None:
    """The framework's stock builders run hosted: Sequential and Concurrent."""
    result = await support.both(BUILDERS[name], value)
    assert result.failure is None
    assert result.outputs


def _text(output: Any) -> str:
    return str(getattr(output, "text", output))


@pytest.mark.parametrize("name", BUILDERS)
async def test_runs_of_a_stock_builder_share_nothing(name: str) -> None:
    """Sessions and middleware of stock builders never leak to another run."""
    process = support.Process(BUILDERS[name])
    texts = [f"run {number}" for number in range(4)]
    for _ in range(2):
        results = await support.gather_runs(process, texts)
        for text, result in zip(texts, results, strict=True):
            alone = await support.hosted_run(BUILDERS[name], text)
            assert [_text(output) for output in result.outputs] == [_text(output) for output in alone.outputs]
            others = [other for other in texts if other != text]
            assert not any(other in str(support.plain(result.outputs)) for other in others)


@pytest.mark.parametrize("name", [*BUILDERS, *TEAMS])
def test_a_builder_builds_the_same_graph_in_each_process(name: str) -> None:
    """So that a factory is taken, and a run that goes on elsewhere is not told that its definition changed."""
    build = {**BUILDERS, **TEAMS}[name]
    first, second = (support.sole(support.app_of(build)) for _ in range(2))
    assert first.shape == second.shape
    assert first.shape.definition == second.shape.definition
