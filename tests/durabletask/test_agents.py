"""What holds for agents on the local host, held on a scheduler; and what is a worker's own."""

from __future__ import annotations

import asyncio
import os
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import mcp
import pytest
from agent_framework import Agent, AgentSession, Message
from tests import borrowed, polling
from tests.agents import (
    test_approvals,
    test_crash,
    test_errors,
    test_idempotency,
    test_live,
    test_mcp,
    test_providers,
    test_retry,
    test_routes,
    test_session_routes,
    test_sessions,
    test_streams,
    test_waiting,
    test_workflow_agents,
    world,
)
from tests.durabletask import fleet, hosting
from tests.durabletask.scheduler import Scheduler
from tests.host import served

from perdure import AgentFunctionApp
from perdure.hosts.durabletask import hub
from perdure.hosts.replay import turn_records
from perdure.testing import ScriptedChatClient
from perdure.workflow import protocol

NOT_HERE = {
    # Its app hosts nothing that a worker runs.
    "test_an_app_without_a_health_check_has_no_such_route",
}


@pytest.fixture(autouse=True)
def on_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "LocalHost", hosting.SchedulerHost)


borrowed.into(
    globals(),
    test_approvals,
    test_crash,
    test_errors,
    test_idempotency,
    test_live,
    test_mcp,
    test_providers,
    test_retry,
    test_routes,
    test_session_routes,
    test_sessions,
    test_streams,
    test_waiting,
    test_workflow_agents,
    without=NOT_HERE,
)


def files(folder: pathlib.Path, text: bytes) -> list[pathlib.Path]:
    """The files in which something is said."""
    return [file for file in folder.rglob("*") if file.is_file() and text in file.read_bytes()]


async def until_gone(folder: pathlib.Path, text: bytes) -> None:
    """Wait until nothing in the store says something; it is deleted in the background."""
    await polling.until(lambda: asyncio.to_thread(files, folder, text), lambda found: not found)


async def test_twenty_sessions_at_once_hear_only_themselves(scheduler: Scheduler) -> None:
    def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        return " ".join(message.text for message in messages)

    async with hosting.SchedulerHost(world.app_of(ScriptedChatClient(answer)), scheduler=scheduler, port=0) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        for turn in ("a", "b"):
            said = [talk.say(f"{turn}{number}", session_id=f"s{number}") for number in range(20)]
            answers = [found.json()["response"] for found in await asyncio.gather(*said)]
    assert answers == [f"a{number} a{number} b{number}" for number in range(20)]


@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_what_a_session_kept_is_deleted_with_it(tmp_path: pathlib.Path, scheduler: Scheduler, how: str) -> None:
    app = AgentFunctionApp(app_folder=world.TESTS, session_ttl=0.3 if how == "expired" else None)
    app.add_agent(Agent(client=ScriptedChatClient(["Noted.", "Who?"]), name="helper"))
    stores = hub.stores(str(tmp_path), "test", {})
    async with hosting.SchedulerHost(app, scheduler=scheduler, port=0, stores=stores) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        await talk.say("I am Ann.", session_id="s1", correlation_id="k")
        if how == "deleted":
            assert files(tmp_path, b"I am Ann."), "the test looks where nothing is"
            assert (await talk.call("DELETE", "agents/helper/sessions/s1")).status_code == 204
        await until_gone(tmp_path, b"I am Ann.")
        assert (await talk.call("GET", "agents/helper/sessions/s1")).status_code == 404
        again = await talk.say("I am Bob.", session_id="s1", correlation_id="k")
    assert again.json()["response"] == "Who?"
    assert again.json()["message_count"] == 2


async def test_what_an_expired_session_kept_is_deleted_by_the_next_worker_if_its_own_was_killed(
    tmp_path: pathlib.Path, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = AgentFunctionApp(app_folder=world.TESTS, session_ttl=0.2)
    app.add_agent(Agent(client=ScriptedChatClient(["Noted."]), name="helper"))
    stores = hub.stores(str(tmp_path), "test", {})
    ended = asyncio.Event()

    async def killed(self: hub.Hub, instance_id: str, connected: Any) -> None:
        ended.set()

    async with hosting.SchedulerHost(app, scheduler=scheduler, port=0, stores=stores) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        with monkeypatch.context() as patched:
            patched.setattr(hub.Hub, "_ended", killed)
            await talk.say("I am Ann.", session_id="s1")
            await asyncio.wait_for(ended.wait(), 20)
            await host.dismiss()
        assert files(tmp_path, b"I am Ann."), "the test looks where nothing is"
        host.employ()
        await until_gone(tmp_path, b"I am Ann.")


async def test_a_turn_sent_as_the_session_expires_is_accepted_when_it_is_sure_who_hears_it(
    scheduler: Scheduler,
) -> None:
    """The session's end is due before it, and no worker is there: it would be sent to nobody."""
    app = AgentFunctionApp(app_folder=world.TESTS, session_ttl=1.0)
    app.add_agent(Agent(client=ScriptedChatClient(lambda messages, options: messages[-1].text), name="helper"))
    async with hosting.SchedulerHost(app, scheduler=scheduler, port=0) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        assert (await talk.say("one", session_id="s1")).json()["response"] == "one"
        await host.dismiss()
        await polling.until(
            lambda: talk.call("GET", "agents/helper/sessions/s1"), lambda answer: answer.status_code == 404
        )
        sending = asyncio.create_task(talk.say("two", session_id="s1", correlation_id="k", wait_for_response=False))
        accepted, _ = await asyncio.wait([sending], timeout=0.5)
        assert not accepted
        host.employ()
        assert (await sending).status_code == 202
        answer = (await talk.say("two", session_id="s1", correlation_id="k")).json()
    assert (answer["response"], answer["message_count"]) == ("two", 2)


async def test_an_answer_that_the_engine_has_not_heard_of_is_given_when_the_session_shows_it(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, heard = threading.Event(), threading.Event()
    inner = turn_records.Recorded.__call__

    async def late(self: turn_records.Recorded, *given: Any) -> protocol.Outcome:
        outcome = await inner(self, *given)
        recorded.set()
        assert await asyncio.to_thread(heard.wait, 20)
        return outcome

    monkeypatch.setattr(turn_records.Recorded, "__call__", late)
    client = ScriptedChatClient(["Noted."])
    async with hosting.SchedulerHost(world.app_of(client), scheduler=scheduler, port=0) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        await talk.say("I am Ann.", session_id="s1", correlation_id="k", wait_for_response=False)
        assert await asyncio.to_thread(recorded.wait, 20)
        again = asyncio.create_task(talk.say("I am Ann.", session_id="s1", correlation_id="k"))
        early, _ = await asyncio.wait([again], timeout=0.5)
        heard.set()
        answer = (await again).json()
        read = await talk.conversation("s1")
    assert not early
    assert (answer["response"], read["message_count"]) == ("Noted.", 2)


async def test_a_session_that_always_has_a_turn_to_take_keeps_a_short_history(scheduler: Scheduler) -> None:
    sent, histories = asyncio.Event(), list[int]()

    async def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        await sent.wait()
        histories.append(scheduler.history("session.1@dafx-helper@s1"))
        return f"heard {messages[-1].text}"

    client = ScriptedChatClient(answer)
    async with hosting.SchedulerHost(world.app_of(client), scheduler=scheduler, port=0) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        for turn in range(30):
            await talk.say(f"{turn}", session_id="s1", correlation_id=f"k{turn}", wait_for_response=False)
        sent.set()
        last = await talk.say("29", session_id="s1", correlation_id="k29")
    assert last.json()["message_count"] == 60
    assert [request.messages[-1].text for request in client.requests] == [f"{turn}" for turn in range(30)]
    # The first life has all that were sent while its first turn was at work.
    assert max(histories[1:]) < 60 < histories[0]


class Unable(Agent[Any]):
    def create_session(self, **given: Any) -> AgentSession:
        raise RuntimeError("no session today")


async def test_who_waits_for_a_turn_that_left_no_entry_is_told_why(scheduler: Scheduler) -> None:
    """Also where many such turns came before it."""
    app = AgentFunctionApp(app_folder=world.TESTS, agents=[Unable(client=ScriptedChatClient(["Hi"]), name="helper")])
    async with hosting.SchedulerHost(app, scheduler=scheduler, port=0) as host:
        talk = world.World(host)  # type: ignore[arg-type]  # what it uses of a host, this one has
        for turn in range(8):
            answer = await talk.say("Hi", session_id="s1", correlation_id=f"k{turn}")
            assert "no session today" in answer.text
            assert answer.status_code == 500


AGENT = """
from agent_framework import Agent
from perdure.testing import ScriptedChatClient


async def answer(messages, options):
    texts = [message.text for message in messages]
    told(f"{texts[-1]} {os.getpid()}")
    if texts[-1] == "two":
        await held("middle")
    return " ".join(texts)


app = AgentFunctionApp(agents=[Agent(client=ScriptedChatClient(answer), name="helper")])
"""


def test_a_worker_killed_in_a_turn_loses_nothing_and_what_was_answered_is_not_asked_again(
    tmp_path: pathlib.Path, scheduler: Scheduler
) -> None:
    with fleet.of(tmp_path / "app", scheduler, AGENT) as made:
        first = made.worker()
        url = made.serve()

        def say(text: str, wait: bool = True) -> httpx.Response:
            body = {"message": text, "session_id": "s1", "correlation_id": text, "wait_for_response": wait}
            return served.http.post(f"{url}/agents/helper/run", json=body)

        assert say("one").json()["response"] == "one"
        assert say("two", wait=False).status_code == 202
        assert say("three", wait=False).status_code == 202
        made.holder("middle")
        first.kill()
        made.go()
        made.worker()
        assert say("three").json()["response"] == "one one two one one two three"
        assert say("two").json()["response"] == "one one two"
        asked = [line.split()[0] for line in served.ran(made.folder)]
        pids = {line.split()[1] for line in served.ran(made.folder) if line.startswith("two")}
    assert asked == ["one", "two", "two", "three"]
    assert len(pids) == 2 and str(os.getpid()) not in pids


TOOL = """
from agent_framework import Agent
from perdure.testing import ScriptedChatClient


def answer(messages, options):
    return f"{' '.join(message.text for message in messages)} of {os.getpid()}"


app = AgentFunctionApp(enable_mcp_tool_trigger=True)
app.add_agent(Agent(client=ScriptedChatClient(answer), name="helper", description="It helps."))
"""


async def test_an_agent_is_a_tool_of_each_serve_and_its_turns_are_taken_by_workers(
    tmp_path: pathlib.Path, scheduler: Scheduler
) -> None:
    with fleet.of(tmp_path / "app", scheduler, TOOL) as made:
        worker = await asyncio.to_thread(made.worker)
        addresses = [(await asyncio.to_thread(made.serve)).removesuffix("/api") for _ in range(2)]
        answers = []
        for address in addresses:
            async with mcp.Client(f"{address}/runtime/webhooks/mcp") as client:
                answers.append(await test_mcp.ask(client, "Hi", "s1"))
    pid = worker.process.pid
    assert answers == [f"Hi of {pid}", f"Hi Hi of {pid} Hi of {pid}"]
