from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from agent_framework import Message
from tests.agents import world

from perdure.testing import ScriptedChatClient


class Gate:
    """A model that answers when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        self.asked.set()
        await self.opened.wait()
        return f"heard {messages[-1].text}"


@pytest.mark.parametrize(
    "key", [{"headers": {"Idempotency-Key": "order-7"}}, {"correlation_id": "order-7"}], ids=["header", "body"]
)
@pytest.mark.parametrize("session", [{"session_id": "s1"}, {}], ids=["a session", "no session"])
@pytest.mark.parametrize("crash", [False, True])
async def test_the_same_key_twice_is_one_run_of_the_agent_and_one_answer(
    key: dict[str, Any], session: dict[str, Any], crash: bool
) -> None:
    client = ScriptedChatClient(["Ordered.", "Ordered again."])
    async with world.serve(world.app_of(client)) as served:
        first = await served.say("Order it.", **session, **key)
        if crash:
            await served.crash()
        second = await served.say("Order it.", **session, **key)

    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.json()["response"] == "Ordered." and first.json()["correlation_id"] == "order-7"
    assert len(client.requests) == 1


async def test_the_same_key_while_the_first_is_running_is_one_run_and_one_answer() -> None:
    gate = Gate()
    client = ScriptedChatClient(gate)
    async with world.serve(world.app_of(client)) as served:
        first = asyncio.create_task(served.say("Order it.", session_id="s1", correlation_id="k"))
        await gate.asked.wait()
        accepted = await served.say("Order it.", session_id="s1", correlation_id="k", wait_for_response=False)
        second = asyncio.create_task(served.say("Order it.", session_id="s1", correlation_id="k"))
        gate.opened.set()
        answers = [(await first).json(), (await second).json()]

    assert accepted.status_code == 202
    assert answers[0] == answers[1]
    assert answers[0]["response"] == "heard Order it."
    assert len(client.requests) == 1


async def test_many_senders_of_one_key_at_once_are_one_run() -> None:
    client = ScriptedChatClient(lambda messages, options: "once")
    async with world.serve(world.app_of(client)) as served:
        sent = [served.say("Order it.", session_id="s1", correlation_id="k") for _ in range(20)]
        answers = await asyncio.gather(*sent)

    assert {answer.json()["response"] for answer in answers} == {"once"}
    assert len(client.requests) == 1


async def test_a_key_is_known_long_after_its_turn() -> None:
    client = ScriptedChatClient(lambda messages, options: f"answer to {messages[-1].text}")
    async with world.serve(world.app_of(client)) as served:
        for number in range(80):
            assert (await served.say(f"turn {number}", session_id="s1", correlation_id=f"k{number}")).is_success
        again = await served.say("turn 0", session_id="s1", correlation_id="k0")

    assert again.json()["response"] == "answer to turn 0"
    assert again.json()["message_count"] == 2
    assert len(client.requests) == 80


async def test_a_key_with_another_request_is_refused() -> None:
    client = ScriptedChatClient(["Ordered.", "Ordered again."])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Order it.", session_id="s1", correlation_id="k")
        other = await served.say("Order two.", session_id="s1", correlation_id="k")

    assert other.status_code == 409
    assert "another request" in other.json()["error"]
    assert len(client.requests) == 1


async def test_an_error_is_an_answer_too_and_is_not_asked_for_again() -> None:
    client = ScriptedChatClient([ValueError("no such customer"), "never asked for"])
    async with world.serve(world.app_of(client)) as served:
        first = await served.say("Order it.", session_id="s1", correlation_id="k")
        second = await served.say("Order it.", session_id="s1", correlation_id="k")

    assert first.status_code == second.status_code == 500
    assert first.json() == second.json()
    assert len(client.requests) == 1


async def test_keys_that_disagree_are_refused() -> None:
    async with world.serve(world.app_of(ScriptedChatClient([]))) as served:
        answer = await served.say("Hi", correlation_id="a", headers={"Idempotency-Key": "b"})

    assert answer.status_code == 400
    assert "disagree" in answer.json()["error"]


async def test_the_answer_to_an_accepted_turn_is_had_with_its_correlation_id() -> None:
    client = ScriptedChatClient(["Done."])
    async with world.serve(world.app_of(client)) as served:
        accepted = (await served.say("Do it.", session_id="s1", wait_for_response=False)).json()
        answer = await served.say("Do it.", session_id="s1", correlation_id=accepted["correlation_id"])

    assert accepted["status"] == "accepted"
    assert answer.json()["response"] == "Done."
    assert len(client.requests) == 1
