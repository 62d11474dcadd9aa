from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from agent_framework import Message
from tests.agents import world
from tests.agents.test_idempotency import Gate

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient


async def test_a_waited_answer_comes_when_it_is_there_and_not_at_the_next_poll() -> None:
    """A single poll would cost the interval, which no load of this machine does."""
    client = ScriptedChatClient(lambda messages, options: "Yes.")
    app = AgentFunctionApp(agents=[], poll_interval_seconds=30, max_poll_retries=2)
    app.add_agent(world.app_of(client).agents["helper"])
    async with world.serve(app) as served:
        await served.say("Hi", session_id="s1")
        began = time.perf_counter()
        for _ in range(5):
            assert (await served.say("Hi", session_id="s1")).status_code == 200
        took = time.perf_counter() - began

    assert took < 30


async def test_a_wait_that_runs_out_is_accepted_and_the_turn_goes_on() -> None:
    gate = Gate()
    client = ScriptedChatClient(gate)
    async with world.serve(world.app_of(client)) as served:
        waited = await served.say("Hi", session_id="s1", correlation_id="k", headers={"Prefer": "wait=1"})
        gate.opened.set()
        answer = await served.say("Hi", session_id="s1", correlation_id="k")

    assert waited.status_code == 202 and waited.json()["status"] == "accepted"
    assert waited.headers["preference-applied"] == "wait=1"
    assert answer.json()["response"] == "heard Hi"
    assert len(client.requests) == 1


async def test_a_client_that_leaves_does_not_take_its_turn_with_it() -> None:
    gate = Gate()
    client = ScriptedChatClient(gate)
    async with world.serve(world.app_of(client)) as served:
        leaving = asyncio.create_task(served.say("Hi", session_id="s1", correlation_id="k"))
        await gate.asked.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        gate.opened.set()
        answer = await served.say("Hi", session_id="s1", correlation_id="k")

    assert answer.json()["response"] == "heard Hi"
    assert len(client.requests) == 1


async def test_turns_of_one_session_are_taken_one_at_a_time_in_order_and_none_is_lost() -> None:
    running, most, order = 0, 0, []
    accepted = asyncio.Event()

    async def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(messages[-1].text)
        await accepted.wait()  # so that the others stand in line
        running -= 1
        return f"heard {messages[-1].text}"

    client = ScriptedChatClient(answer)
    async with world.serve(world.app_of(client)) as served:
        sent = []
        for number in range(20):
            body: dict[str, Any] = {"session_id": "s1", "correlation_id": f"k{number}", "wait_for_response": False}
            sent.append((await served.say(f"turn {number}", **body)).status_code)
        accepted.set()
        last = await served.say("last", session_id="s1")

    assert sent == [202] * 20
    assert order == [*(f"turn {number}" for number in range(20)), "last"]
    assert most == 1
    assert last.json()["message_count"] == 42
    assert len(client.requests[-1].messages) == 41


async def test_sessions_do_not_wait_for_each_other() -> None:
    gate = Gate()

    async def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        return await gate(messages, options) if messages[-1].text == "slow" else "quick"

    async with world.serve(world.app_of(ScriptedChatClient(answer))) as served:
        slow = asyncio.create_task(served.say("slow", session_id="s1"))
        await gate.asked.wait()
        quick = await served.say("Hi", session_id="s2")
        gate.opened.set()
        await slow

    assert quick.json()["response"] == "quick"
