"""Many runs at once through teams that remember, on the real engine: what any of them sees is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from agent_framework import Agent, AgentExecutor, Message, Workflow
from agent_framework_orchestrations import MagenticPlanReviewResponse
from tests.workflow import support, teams

from perdure import AgentFunctionApp, testing
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


async def _crowd(kinds: Sequence[tuple[str, str]]) -> None:
    """Have 200 runs at once through these teams, each given as one workflow or as a factory, hosted side by side."""
    expected = {team: [await _alone(CROWDS[team], 0), await _alone(CROWDS[team], 1)] for team, _ in kinds}
    teams.visits.by_session.clear()
    hosted: dict[str, Workflow | Callable[[], Workflow]] = {
        f"{team} by {how}": CROWDS[team]() if how == "instance" else CROWDS[team] for team, how in kinds
    }
    # Of each team's runs half have a user who goes one way, half one who goes the other.
    runs_of = [(f"run-{100 + index}", *kinds[index % len(kinds)], index // len(kinds) % 2) for index in range(RUNS)]

    async with testing.LocalHost(AgentFunctionApp(workflows=hosted, app_folder=support.TESTS)) as host:
        for run, team, how, _ in runs_of:
            await host.start(f"{team} by {how}", f"hello from {run}", run_id=run)
        handed = await asyncio.gather(*(_answer(host, run, number) for run, _, _, number in runs_of))
        outputs = [await host.outputs(run) for run, *_ in runs_of]
        ended: list[runs.Run | None] = [await host.runs.get(run) for run, *_ in runs_of]

    assert [run.status for run in ended if run is not None] == ["Completed"] * RUNS
    for (run, team, _, number), output, targets in zip(runs_of, outputs, handed, strict=True):
        assert [teams.text(item).replace(run, "run-100") for item in output] == expected[team][number]
        assert targets == ([["shipping", "refunds"], ["refunds", "shipping"]][number] if team == "handoff" else [])
    seen = [words for words in teams.visits.by_session.values() if words]
    assert len(seen) >= RUNS
    assert all(len(words) == 1 for words in seen)
    for name, built in hosted.items():
        if isinstance(built, Workflow):
            asked = [request for client in _clients(built) for request in client.requests]
            assert len(asked) >= RUNS // len(kinds), name
            assert all(len(teams.tokens([m.text for m in request.messages])) == 1 for request in asked), name


async def test_of_200_concurrent_runs_none_sees_a_word_a_session_or_a_handoff_of_another() -> None:
    await _crowd([(team, how) for team in CROWDS for how in ("instance", "factory")])


@pytest.mark.soak
@pytest.mark.parametrize("how", ["instance", "factory"])
@pytest.mark.parametrize("team", CROWDS)
async def test_of_200_concurrent_runs_of_one_team_none_sees_a_word_a_session_or_a_handoff_of_another(
    team: str, how: str
) -> None:
    await _crowd([(team, how)])
