"""Many runs at once through teams that remember, on the real engine: what any of them sees is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from agent_framework import Agent, AgentExecutor, Message, Workflow
from agent_framework_orchestrations import MagenticPlanReviewResponse
from tests.workflow import support, teams

from perdure import testing
from perdure.routes import runs

RUNS = 200

CROWDS: dict[str, Callable[[], Workflow]] = {
    "group chat led by an agent": teams.group_chat_with_chair,
    "handoff": teams.handoff,
    "magentic with plan review": teams.magentic_reviewed,
}


def _words(number: int) -> tuple[str, str]:
    """What a run's user says when asked: half of them go one way, half the other."""
    return ("my money", "a parcel, too") if number % 2 else ("a parcel", "and my money")


def _json(answer: Any) -> bytes:
    if isinstance(answer, list):
        return msgspec.json.encode([message.to_dict() for message in answer])
    return msgspec.json.encode({"review": [message.to_dict() for message in answer.review]})


async def _answer(host: testing.LocalHost, run: str, number: int) -> list[str]:
    """Answer all that a run asks, as ``teams.answers`` does in process; gives where it was handed to."""
    asked: list[str] = []
    handed: list[str] = []
    async for event in host.runs.follow(run):
        assert teams.tokens(event.data) <= {run}, event
        if event.type == "handoff_sent":
            handed.append(event.data["data"]["target"])
        if event.type != "request_info":
            continue
        asked.append(event.data["requestId"])
        body = _json(_reply(event.data, len(asked), number))
        assert await host.runs.answer(run, asked[-1], body, "application/json") == "accepted"
    return handed


def _reply(data: dict[str, Any], count: int, number: int) -> Any:
    if "plan" in data["data"]:
        review = [Message("user", [f"better than {data['data']['plan']['contents'][0]['text']}"])] if count == 1 else []
        return MagenticPlanReviewResponse(review)
    said = (*_words(number), "bye", "")[count - 1]
    return [Message("user", [said])] if said else []


async def _alone(build: Callable[[], Workflow], number: int) -> list[str]:
    """What a run of that kind gives in process, where nobody else is."""
    result = await support.in_process(build(), "hello from run-100", answer=teams.answers(*_words(number)))
    assert result.failure is None
    return [teams.text(output) for output in result.outputs]


def _clients(workflow: Workflow) -> list[testing.ScriptedChatClient]:
    agents = [found.agent for found in workflow.executors.values() if isinstance(found, AgentExecutor)]
    clients = [found.client for found in agents if isinstance(found, Agent)]
    return [found for found in clients if isinstance(found, testing.ScriptedChatClient)]


@pytest.mark.parametrize("kind", ["instance", "factory"])
@pytest.mark.parametrize("name", CROWDS)
async def test_of_200_concurrent_runs_none_sees_a_word_a_session_or_a_handoff_of_another(name: str, kind: str) -> None:
    build = CROWDS[name]
    expected = [await _alone(build, 0), await _alone(build, 1)]
    teams.visits.by_session.clear()
    built = build()
    names = [f"run-{100 + number}" for number in range(RUNS)]

    async with testing.LocalHost(support.app_of(built if kind == "instance" else build)) as host:
        (hosted,) = host.app.workflows
        for run in names:
            await host.start(hosted, f"hello from {run}", run_id=run)
        handed = await asyncio.gather(*(_answer(host, run, number) for number, run in enumerate(names)))
        outputs = [await host.outputs(run) for run in names]
        ended: list[runs.Run | None] = [await host.runs.get(run) for run in names]

    assert {run.status for run in ended if run is not None} == {"Completed"}
    for number, run in enumerate(names):
        said = [teams.text(output) for output in outputs[number]]
        assert [text.replace(run, "run-100") for text in said] == expected[number % 2]
        assert handed[number] == handed[number % 2]
    if name == "handoff":
        assert (handed[0], handed[1]) == (["shipping", "refunds"], ["refunds", "shipping"])
    seen = [words for words in teams.visits.by_session.values() if words]
    assert len(seen) >= RUNS
    assert all(len(words) == 1 for words in seen)
    if kind == "instance":
        asked = [request for client in _clients(built) for request in client.requests]
        assert len(asked) >= RUNS
        assert all(len(teams.tokens([m.text for m in request.messages])) == 1 for request in asked)
