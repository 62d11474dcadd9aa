"""Turns that fail are tried again as the app says, and time out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from agent_framework import Agent, Message
from tests.agents import world
from tests.agents.test_streams import Listening

from perdure import AgentFunctionApp, Retry
from perdure.testing import ModelServer, ScriptedChatClient
from perdure.testing.model_server import Reply

SOON = Retry(attempts=3, first_delay_seconds=0.0, on=ValueError)


def app_of(client: ScriptedChatClient, **options: Any) -> AgentFunctionApp:
    app = AgentFunctionApp(app_folder=world.TESTS)
    app.add_agent(Agent(client=client, name="helper"), **options)
    return app


async def test_a_transient_error_of_the_model_is_tried_again_by_default_and_is_one_turn() -> None:
    with ModelServer([Reply("too many", status=429, retry_after=0.01), "Here."]) as server:
        async with world.serve_over(server) as served:
            answer = await served.say("Hi", session_id="s1")
            read = await served.conversation("s1")

    assert (answer.status_code, answer.json()["response"], len(server.calls)) == (200, "Here.", 2)
    assert [turn["status"] for turn in read["turns"]] == ["success"]


async def test_other_errors_are_not_tried_again_by_default() -> None:
    with ModelServer([Reply("no such model", status=404), "Here."]) as server:
        async with world.serve_over(server) as served:
            answer = await served.say("Hi")

    assert answer.status_code == 500 and len(server.calls) == 1


async def test_a_stream_that_broke_is_tried_again_where_the_agent_s_policy_says_so() -> None:
    heard = Listening()
    with ModelServer([Reply("Once upon a time", cut_after=4), "The end."]) as server:
        async with world.serve_over(server, heard, retry=Retry(first_delay_seconds=0.0)) as served:
            answer = await served.say("Tell me a story.", session_id="s1")
            read = await served.conversation("s1")

    assert (answer.json()["response"], len(server.calls)) == ("The end.", 2)
    assert len(read["turns"]) == 1 and heard.whole == ["The end."]


async def test_an_attempt_that_failed_leaves_nothing_in_the_conversation() -> None:
    client = ScriptedChatClient([ValueError("no"), ValueError("no"), "Here.", "Still here."])
    async with world.serve(app_of(client, retry=SOON)) as served:
        first = await served.say("Hi", session_id="s1", correlation_id="k")
        again = await served.say("Hi", session_id="s1", correlation_id="k")
        await served.say("And?", session_id="s1")

    assert first.json() == again.json() and first.json()["message_count"] == 2
    assert world.told(client, 2) == [("user", "Hi")]
    assert world.told(client, 3) == [("user", "Hi"), ("assistant", "Here."), ("user", "And?")]


async def test_when_the_attempts_are_used_up_the_turn_is_an_error_with_the_last_reason() -> None:
    client = ScriptedChatClient([ValueError("one"), ValueError("two"), ValueError("three"), "Here."])
    async with world.serve(app_of(client, retry=SOON)) as served:
        failed = await served.say("Hi", session_id="s1")
        after = await served.say("And?", session_id="s1")

    assert (failed.status_code, failed.json()["error"]) == (500, "ValueError: three")
    assert after.json()["response"] == "Here.", "the next turn has attempts of its own"


async def test_turns_wait_in_line_behind_one_that_is_tried_again() -> None:
    client = ScriptedChatClient([ValueError("no"), "one", "two"])
    async with world.serve(app_of(client, retry=SOON)) as served:
        answers = [
            await served.say("first", session_id="s1", wait_for_response=False),
            await served.say("second", session_id="s1"),
        ]

    assert [answer.status_code for answer in answers] == [202, 200]
    assert [request.messages[-1].text for request in client.requests] == ["first", "first", "second"]


async def test_a_predicate_is_asked_of_the_live_exception() -> None:
    client = ScriptedChatClient([ValueError("later"), ValueError("never"), "Here."])
    retry = Retry(attempts=3, first_delay_seconds=0.0, on=lambda error: "later" in str(error))
    async with world.serve(app_of(client, retry=retry)) as served:
        failed = await served.say("Hi")

    assert failed.json()["error"] == "ValueError: never" and len(client.requests) == 2


async def test_an_attempt_that_takes_too_long_is_cancelled_and_tried_again() -> None:
    cancelled: list[str] = []

    async def slow(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        if not cancelled:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(messages[-1].text)
                raise
        return "Here."

    retry = Retry(attempts=2, first_delay_seconds=0.0)
    async with world.serve(app_of(ScriptedChatClient(slow), timeout=0.05, retry=retry)) as served:
        answer = await served.say("Hi")

    assert answer.json()["response"] == "Here." and cancelled == ["Hi"]


async def test_an_agent_that_never_answers_is_an_error_that_says_so() -> None:
    async def hangs(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        await asyncio.Event().wait()
        return "never"

    async with world.serve(app_of(ScriptedChatClient(hangs), timeout=0.05, retry=Retry(attempts=1))) as served:
        failed = await served.say("Hi")

    assert failed.status_code == 500
    assert failed.json()["error"] == "TimeoutError: Agent 'helper' did not answer within 0.05 s; it was cancelled."


async def test_a_policy_of_the_app_names_an_agent_and_is_for_all_under_a_star() -> None:
    clients = [ScriptedChatClient([ValueError("no"), "Here."]) for _ in range(2)]
    agents = [Agent(client=client, name=name) for client, name in zip(clients, ("named", "other"), strict=True)]
    app = AgentFunctionApp(agents=agents, retry={"named": SOON}, app_folder=world.TESTS)
    async with world.serve(app) as served:
        named, other = [await served.say("Hi", agent=name) for name in ("named", "other")]
    async with world.serve(AgentFunctionApp(agents=agents[1:], retry=SOON, app_folder=world.TESTS)) as served:
        starred = await served.say("Hi", agent="other")

    assert (named.status_code, other.status_code, starred.status_code) == (200, 500, 200)


def test_a_policy_for_an_agent_that_is_not_there_is_refused() -> None:
    agent = Agent(client=ScriptedChatClient([]), name="helper")
    with pytest.raises(ValueError, match="retry has the key 'helpr', which is no executor and no agent: helper"):
        AgentFunctionApp(agents=[agent], retry={"helpr": SOON})


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="a timeout is more than 0 seconds"):
        app_of(ScriptedChatClient([]), timeout=timeout)
