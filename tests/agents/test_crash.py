from __future__ import annotations

import asyncio
import collections
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from agent_framework import Message
from tests.agents import world
from tests.agents.test_idempotency import Gate

from perdure.testing import ScriptedChatClient

SESSIONS = 50


async def test_a_turn_killed_in_the_model_call_is_answered_after_the_restart() -> None:
    gate = Gate()
    client = ScriptedChatClient(gate)
    async with world.serve(world.app_of(client)) as served:
        waiting = asyncio.create_task(served.say("Hi", session_id="s1", correlation_id="k"))
        await gate.asked.wait()
        await served.host.crash()
        (lost,) = await asyncio.gather(waiting, return_exceptions=True)
        gate.opened.set()
        await served.host.restart()
        answer = await served.say("Hi", session_id="s1", correlation_id="k")
        read = await served.conversation("s1")

    assert not isinstance(lost, httpx.Response) or lost.status_code >= 500
    assert answer.json()["response"] == "heard Hi"
    assert read["message_count"] == 2
    assert len(client.requests) == 2, "the call in flight is in doubt and made again; none else is"


async def test_fifty_sessions_killed_mid_turn_lose_nothing_accepted_and_ask_nothing_answered_again() -> None:
    asked: collections.Counter[str] = collections.Counter()
    held, everyone = asyncio.Event(), asyncio.Event()

    async def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        asked[messages[-1].text] += 1
        if messages[-1].text.startswith("second"):
            if sum(count for text, count in asked.items() if text.startswith("second")) == SESSIONS:
                everyone.set()
            await held.wait()
        return f"heard {messages[-1].text}"

    client = ScriptedChatClient(answer)

    def turn(session: int, which: str) -> dict[str, Any]:
        return {"session_id": f"s{session}", "correlation_id": f"{which}-{session}"}

    async with world.serve(world.app_of(client)) as served:
        first = await asyncio.gather(*(served.say(f"first {n}", **turn(n, "first")) for n in range(SESSIONS)))
        accepted = await asyncio.gather(
            *(served.say(f"second {n}", **turn(n, "second"), wait_for_response=False) for n in range(SESSIONS))
        )
        queued = await asyncio.gather(
            *(served.say(f"third {n}", **turn(n, "third"), wait_for_response=False) for n in range(SESSIONS))
        )
        await everyone.wait()
        await served.host.crash()
        held.set()
        await served.host.restart()
        again = await asyncio.gather(*(served.say(f"first {n}", **turn(n, "first")) for n in range(SESSIONS)))
        third = await asyncio.gather(*(served.say(f"third {n}", **turn(n, "third")) for n in range(SESSIONS)))

    assert {answer.status_code for answer in (*accepted, *queued)} == {202}
    assert [answer.json() for answer in first] == [answer.json() for answer in again]
    assert [answer.json()["response"] for answer in third] == [f"heard third {n}" for n in range(SESSIONS)]
    assert {answer.json()["message_count"] for answer in third} == {6}
    assert {asked[f"first {n}"] for n in range(SESSIONS)} == {1}
    assert {asked[f"second {n}"] for n in range(SESSIONS)} == {2}
    assert {asked[f"third {n}"] for n in range(SESSIONS)} == {1}
    last = {request.messages[-1].text: request for request in client.requests}
    for n in range(SESSIONS):
        texts = [message.text for message in last[f"third {n}"].messages]
        assert texts == [
            f"first {n}", f"heard first {n}", f"second {n}", f"heard second {n}", f"third {n}",
        ]  # fmt: skip


async def test_a_reset_and_a_deletion_that_were_accepted_hold_after_a_kill() -> None:
    client = ScriptedChatClient(lambda messages, options: "Yes.")
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", session_id="s1")
        await served.say("Hi", session_id="s2")
        await served.call("POST", "agents/helper/sessions/s1/reset")
        await served.call("DELETE", "agents/helper/sessions/s2")
        await served.crash()
        read = await served.conversation("s1")
        gone = await served.call("GET", "agents/helper/sessions/s2")

    assert read["turns"] == []
    assert gone.status_code == 404
