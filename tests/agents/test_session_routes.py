from __future__ import annotations

import asyncio
import datetime
import pathlib
from typing import Any

import pytest
from agent_framework import Agent
from tests import polling
from tests.agents import world
from tests.agents.test_idempotency import Gate

from perdure import AgentFunctionApp
from perdure.hosts.local import host as hosts
from perdure.testing import ScriptedChatClient


def echoing() -> ScriptedChatClient:
    return ScriptedChatClient(lambda messages, options: f"heard {messages[-1].text}")


async def test_sessions_are_listed_in_pages_by_prefix() -> None:
    async with world.serve(world.app_of(echoing())) as served:
        for number in range(5):
            await served.say("Hi", session_id=f"a{number}")
        await served.say("Hi", session_id="b0")
        found, cursor = [], None
        while True:
            query = {"prefix": "a", "limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await served.call("GET", "agents/helper/sessions", params=query)).json()
            found += [session["session_id"] for session in page["sessions"]]
            if (cursor := page["cursor"]) is None:
                break
        everything = (await served.call("GET", "agents/helper/sessions")).json()["sessions"]
        wrong = await served.call("GET", "agents/helper/sessions", params={"cursor": "mine"})

    assert found == ["a4", "a3", "a2", "a1", "a0"]
    assert everything[0] == {
        "session_id": "b0",
        "agent": "helper",
        "created": everything[0]["created"],
        "updated": everything[0]["updated"],
        "message_count": 2,
        "pending": 0,
        "expires": None,
    }
    assert wrong.status_code == 400


async def test_a_conversation_is_read_in_pages_from_its_end() -> None:
    async with world.serve(world.app_of(echoing())) as served:
        for number in range(5):
            await served.say(f"turn {number}", session_id="s1")
        await served.crash()
        last = await served.conversation("s1", limit=2)
        middle = await served.conversation("s1", limit=2, cursor=last["cursor"])
        first = await served.conversation("s1", limit=2, cursor=middle["cursor"])
        wrong = await served.call("GET", "agents/helper/sessions/s1", params={"cursor": "ab" * 20})
        nonsense = await served.call("GET", "agents/helper/sessions/s1", params={"cursor": "x"})

    numbers = [[turn["number"] for turn in page["turns"]] for page in (last, middle, first)]
    assert numbers == [[4, 5], [2, 3], [1]]
    assert first["cursor"] is None
    assert last["turns"][1]["response"][0]["contents"][0]["text"] == "heard turn 4"
    assert wrong.status_code == nonsense.status_code == 400


@pytest.mark.parametrize("crash", [False, True])
async def test_a_reset_session_has_forgotten_its_conversation_and_its_state(crash: bool) -> None:
    client = echoing()
    async with world.serve(world.app_of(client)) as served:
        await served.say("I am Ann.", session_id="s1")
        reset = await served.call("POST", "agents/helper/sessions/s1/reset")
        if crash:
            await served.crash()
        read = await served.conversation("s1")
        after = await served.say("Who am I?", session_id="s1")

    assert reset.status_code == 200 and reset.json()["status"] == "reset"
    assert read["turns"] == [] and read["message_count"] == 0
    assert after.json()["message_count"] == 2
    assert world.told(client) == [("user", "Who am I?")]


async def test_a_reset_comes_after_the_turns_that_were_accepted_before_it() -> None:
    gate = Gate()
    client = ScriptedChatClient(gate)
    async with world.serve(world.app_of(client)) as served:
        first = asyncio.create_task(served.say("one", session_id="s1"))
        await gate.asked.wait()
        reset = await served.call("POST", "agents/helper/sessions/s1/reset")
        second = asyncio.create_task(served.say("two", session_id="s1"))
        gate.opened.set()
        answers = [(await first).json(), (await second).json()]

    assert reset.status_code == 202 and reset.json()["status"] == "accepted"
    assert [answer["response"] for answer in answers] == ["heard one", "heard two"]
    assert world.told(client) == [("user", "two")]


@pytest.mark.embedded
async def test_a_deleted_session_is_gone_with_all_that_it_kept() -> None:
    client = ScriptedChatClient(lambda messages, options: "x" * 100_000)
    async with world.serve(world.app_of(client)) as served:
        await served.say("I am Ann.", session_id="s1", correlation_id="k")
        deleted = await served.call("DELETE", "agents/helper/sessions/s1")
        again = await served.call("DELETE", "agents/helper/sessions/s1")
        read = await served.call("GET", "agents/helper/sessions/s1")
        reset = await served.call("POST", "agents/helper/sessions/s1/reset")
        assert kept(served.host) == 0
        anew = await served.say("I am Ann.", session_id="s1", correlation_id="k")

    assert (deleted.status_code, again.status_code, read.status_code, reset.status_code) == (204, 404, 404, 404)
    assert anew.json()["message_count"] == 2
    assert len(client.requests) == 2


def kept(host: hosts.LocalHost) -> int:
    """How many rows the hub has of payloads, small and large, and of instances."""
    import apsw

    total = 0
    for file in pathlib.Path(host.hub).glob("*.db"):
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in {"payloads", "instances", "history", "kept"} & set(tables):
            total += len(list(connection.execute(f"SELECT 1 FROM {table}")))
        connection.close()
    return total


async def test_who_waits_for_a_turn_of_a_session_that_is_deleted_is_told() -> None:
    gate = Gate()
    async with world.serve(world.app_of(ScriptedChatClient(gate))) as served:
        waiting = asyncio.create_task(served.say("Hi", session_id="s1"))
        await gate.asked.wait()
        deleted = await served.call("DELETE", "agents/helper/sessions/s1")
        answer = await waiting

    assert deleted.status_code == 204
    assert answer.status_code == 410


async def gone(served: world.World, session_id: str, agent: str = "helper") -> None:
    """Wait until a session has expired; nobody tells of that."""
    at = f"agents/{agent}/sessions/{session_id}"
    await polling.until(lambda: served.call("GET", at), lambda found: found.status_code == 404)


async def test_a_session_expires_after_its_time_to_live() -> None:
    client = echoing()
    app = AgentFunctionApp(app_folder=world.TESTS, session_ttl=3600)
    app.add_agent(Agent(client=client, name="helper"))
    app.add_agent(Agent(client=client, name="brief"), session_ttl=datetime.timedelta(milliseconds=300))
    async with world.serve(app) as served:
        await served.say("Hi", session_id="s1")
        await served.say("Hi", agent="brief", session_id="s1")
        await gone(served, "s1", "brief")
        stays = await served.conversation("s1")
        anew = await served.say("Who am I?", agent="brief", session_id="s1")

    assert stays["expires"] > stays["updated"]
    assert anew.json()["message_count"] == 2
    assert world.told(client) == [("user", "Who am I?")]


async def test_a_session_expires_although_its_host_was_killed_meanwhile() -> None:
    app = AgentFunctionApp(app_folder=world.TESTS, session_ttl=0.2)
    app.add_agent(Agent(client=echoing(), name="helper"))
    async with world.serve(app) as served:
        await served.say("Hi", session_id="s1")
        await served.host.crash()
        await served.host.restart()
        await gone(served, "s1")
        listed = (await served.call("GET", "agents/helper/sessions")).json()

    assert listed["sessions"] == []


@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_turns_sent_at_once_to_a_session_that_is_gone_are_all_answered_and_begin_it_anew(how: str) -> None:
    """Also one under a key that the session had had: it is another session's."""
    client = echoing()
    app = AgentFunctionApp(app_folder=world.TESTS, session_ttl=0.5 if how == "expired" else None)
    app.add_agent(Agent(client=client, name="helper"))
    async with world.serve(app) as served:
        await served.say("I am Ann.", session_id="s1", correlation_id="k0")
        if how == "deleted":
            await served.call("DELETE", "agents/helper/sessions/s1")
        await gone(served, "s1")
        app.hosted_agents["helper"].session_ttl = 3600.0
        answers = await asyncio.gather(
            *(served.say(f"turn {n}", session_id="s1", correlation_id=f"k{n}") for n in range(6))
        )
        read = await served.conversation("s1")

    assert [answer.status_code for answer in answers] == [200] * 6
    assert sorted(answer.json()["message_count"] for answer in answers) == [2, 4, 6, 8, 10, 12]
    assert len(read["turns"]) == 6
    assert not any("Ann" in message.text for request in client.requests[1:] for message in request.messages)


@pytest.mark.parametrize("ttl", [-1, datetime.timedelta(seconds=-1)])
def test_a_time_to_live_in_the_past_is_refused(ttl: Any) -> None:
    with pytest.raises(ValueError, match="session_ttl"):
        AgentFunctionApp(session_ttl=ttl)
