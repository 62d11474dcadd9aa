"""An agent's answer, read over HTTP while it is being given."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from agent_framework import Agent, AgentResponse, AgentSession, Message
from tests.agents import world
from tests.agents.test_idempotency import Gate
from tests.agents.test_streams import Listening

from perdure import AgentFunctionApp
from perdure.testing import ModelServer, ScriptedChatClient
from perdure.testing.model_server import Reply
from perdure.workflow import policy

live = pytest.mark.embedded
"""Parts of an answer are told while it is given only where the agent is in the process that serves."""

TEXT = "Once upon a time there was a queen."
EVENTS = {"accept": "text/event-stream"}


class Halting(ScriptedChatClient):
    """Stops before the word "was" until it may go on."""

    def __init__(self, answers: Any = (TEXT,)) -> None:
        super().__init__(answers)
        self.halted = asyncio.Event()
        self.go_on = asyncio.Event()

    async def _stream(self, request: Any) -> AsyncIterator[Any]:
        async for update in super()._stream(request):
            if "was" in update.text:
                self.halted.set()
                await self.go_on.wait()
            yield update


class Mute:
    """An agent that cannot stream."""

    id = name = "helper"
    description = None

    async def run(self, messages: list[Message], *, session: AgentSession) -> AgentResponse[Any]:
        return AgentResponse(messages=[Message("assistant", ["Whole."])])


Event = tuple[str, dict[str, Any]]


@contextlib.asynccontextmanager
async def _asking(
    served: world.World, headers: Mapping[str, str] = EVENTS, **body: Any
) -> AsyncIterator[AsyncIterator[Event]]:
    """Ask for events; gives them as they come."""
    body = {"message": "Tell me a story.", "session_id": "s1", **body}
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{served.host.url}/api/agents/helper/run", json=body, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-ms-session-id"] == body["session_id"]
        yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            assert "id" not in fields
            if "data" in fields:
                yield fields["event"], json.loads(fields["data"])
            fields = {}


async def heard(served: world.World, headers: Mapping[str, str] = EVENTS, **body: Any) -> list[Event]:
    async with _asking(served, headers, **body) as events:
        return [event async for event in events]


def _said(data: dict[str, Any]) -> str:
    return "".join(content.get("text", "") for content in data["data"]["contents"])


def _text(events: list[Event]) -> str:
    return "".join(_said(data) for kind, data in events if kind == "delta")


@live
async def test_an_answer_is_heard_while_it_is_given_and_ends_with_what_the_plain_one_would_have_been() -> None:
    client = Halting()
    said = ""
    async with world.serve(world.app_of(client)) as served:
        async with _asking(served, correlation_id="c1") as events:
            kind, data = "", dict[str, Any]()
            async for kind, data in events:
                if kind != "delta":
                    break
                assert data["attempt"] == 1
                said += _said(data)
                if said == "Once upon a time there ":
                    # Heard, and the model has not said the rest yet.
                    await client.halted.wait()
                    client.go_on.set()
            assert [event async for event in events] == []
        plain = await served.say("Tell me a story.", session_id="s1", correlation_id="c1")

    assert said == TEXT
    assert (kind, data) == ("answer", plain.json())
    assert data["status"] == "success" and data["response"] == TEXT and data["message_count"] == 2
    assert len(client.requests) == 1


@live
async def test_who_leaves_loses_nothing_and_joins_the_turn_with_the_same_key() -> None:
    client = Halting()
    key = {"Idempotency-Key": "k1"}
    async with world.serve(world.app_of(client)) as served:
        async with _asking(served, {**EVENTS, **key}) as events:
            await anext(events)
            await client.halted.wait()
        async with _asking(served, {**EVENTS, **key}) as events:
            client.go_on.set()
            joined = [event async for event in events]
        again = await heard(served, {**EVENTS, **key})

    # What was said while nobody listened is not said again; the answer is whole.
    assert _text(joined) == "was a queen."
    assert joined[-1][1]["response"] == TEXT
    assert again == [joined[-1]]
    assert len(client.requests) == 1


@live
async def test_several_hear_the_same_answer() -> None:
    client = Halting()
    async with (
        world.serve(world.app_of(client)) as served,
        _asking(served, correlation_id="c1") as first,
        _asking(served, correlation_id="c1") as second,
    ):
        begun = [await anext(first)]
        client.go_on.set()
        one = begun + [event async for event in first]
        two = [event async for event in second]

    assert _text(one) == TEXT
    assert TEXT.endswith(_text(two))
    assert one[-1] == two[-1] and one[-1][0] == "answer"


@live
async def test_turns_of_a_session_do_not_hear_each_other() -> None:
    client = Halting(["One was.", "Two was."])
    client.go_on.set()
    async with world.serve(world.app_of(client)) as served:
        both = await asyncio.gather(heard(served, correlation_id="c1"), heard(served, correlation_id="c2"))

    assert sorted(map(_text, both)) == ["One was.", "Two was."]
    assert all(_text(events) == events[-1][1]["response"] for events in both)


@live
async def test_an_answer_that_a_killed_host_was_giving_is_given_again_from_the_beginning() -> None:
    client = Halting([TEXT, TEXT])
    async with world.serve(world.app_of(client)) as served:
        async with _asking(served, correlation_id="c1") as events:
            await client.halted.wait()
            await served.host.crash()
            broken: list[Event] = []
            with contextlib.suppress(httpx.HTTPError):
                async for event in events:
                    broken.append(event)
        client.halted.clear()
        await served.host.restart()
        await client.halted.wait()
        async with _asking(served, correlation_id="c1") as events:
            client.go_on.set()
            again = [event async for event in events]

    assert "answer" not in [kind for kind, _ in broken]
    assert again[-1][1]["response"] == TEXT
    # The turn that was begun again streams although nobody was there to ask for it.
    assert client.requests[1].stream and TEXT.endswith(_text(again)) and _text(again)


async def test_an_agent_that_fails_is_told_in_the_last_event() -> None:
    def fail(messages: Any, options: Any) -> Any:
        raise ValueError("no story today")

    async with world.serve(world.app_of(ScriptedChatClient(fail))) as served:
        events = await heard(served, correlation_id="c1")
        plain = await served.say("Tell me a story.", session_id="s1", correlation_id="c1")

    assert plain.status_code == 500
    assert events == [("answer", plain.json())]
    assert events[0][1]["status"] == "error" and "no story today" in events[0][1]["error"]


@live
async def test_a_stream_that_breaks_and_is_tried_again_is_said_again_under_the_next_number() -> None:
    with ModelServer([Reply(TEXT, cut_after=5), Reply(TEXT)]) as server:
        retry = policy.Retry(attempts=2, first_delay_seconds=0.0, on=Exception)
        async with world.serve_over(server, retry=retry) as served:
            events = await heard(served)

    attempts = {1: "", 2: ""}
    for kind, data in events[:-1]:
        assert kind == "delta"
        attempts[data["attempt"]] += _said(data)
    assert attempts[1] and TEXT.startswith(attempts[1]) and attempts[1] != TEXT
    assert attempts[2] == TEXT
    assert events[-1][1]["response"] == TEXT


@live
async def test_a_wait_that_runs_out_ends_the_stream_as_accepted_and_without_one_it_takes_its_time() -> None:
    client = Halting()
    app = world.app_of(client)
    # What clients wait that do not say how long; a stream goes on for as long as it takes.
    app.agent_wait_seconds = 0.01
    async with world.serve(app) as served:
        ended = await heard(served, {**EVENTS, "prefer": "wait=1"}, correlation_id="c1")
        at_once = await heard(served, {**EVENTS, "x-ms-wait-for-response": "false"}, correlation_id="c1")
        async with _asking(served, correlation_id="c1") as events:
            client.go_on.set()
            whole = [event async for event in events]

    assert _text(ended) == "Once upon a time there "
    assert (ended[-1][0], ended[-1][1]["status"]) == ("answer", "accepted")
    assert [(kind, data["status"]) for kind, data in at_once] == [("answer", "accepted")]
    assert whole[-1][1]["response"] == TEXT


async def test_the_parts_that_are_heard_add_up_to_the_answer_which_is_last() -> None:
    """Also where the agent is in another process: then the whole is one part."""
    async with world.serve(world.app_of(ScriptedChatClient([TEXT]))) as served:
        events = await heard(served, correlation_id="c1")
        plain = await served.say("Tell me a story.", session_id="s1", correlation_id="c1")

    assert {kind for kind, _ in events[:-1]} == {"delta"}
    assert {data["attempt"] for _, data in events[:-1]} == {1}
    assert {data["data"]["type"] for _, data in events[:-1]} == {"agent_response_update"}
    assert _text(events) == TEXT
    assert events[-1] == ("answer", plain.json())


async def test_a_stream_that_is_waited_for_no_longer_ends_as_accepted_and_the_turn_goes_on() -> None:
    gate = Gate()
    async with world.serve(world.app_of(ScriptedChatClient(gate))) as served:
        ended = await heard(served, {**EVENTS, "prefer": "wait=1"}, correlation_id="c1")
        gate.opened.set()
        whole = await heard(served, correlation_id="c1")

    assert [(kind, data["status"]) for kind, data in ended] == [("answer", "accepted")]
    assert whole[-1][0] == "answer" and whole[-1][1]["response"] == "heard Tell me a story."


async def test_what_is_refused_at_the_door_has_a_status_of_its_own() -> None:
    async with world.serve(world.app_of(ScriptedChatClient([]))) as served:
        empty = await served.say("", headers=EVENTS)
        unknown = await served.say("Hi", agent="nobody", headers=EVENTS)

    assert (empty.status_code, unknown.status_code) == (400, 404)
    assert "error" in empty.json() and "error" in unknown.json()


@live
async def test_what_is_refused_later_is_a_problem_in_the_last_event() -> None:
    client = Halting(["One.", TEXT])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", session_id="s1", correlation_id="c1")
        ((kind, used),) = await heard(served, message="Something else", correlation_id="c1")
        async with _asking(served, session_id="s2") as events:
            await client.halted.wait()
            assert (await served.call("DELETE", "agents/helper/sessions/s2")).status_code == 204
            *_, (last, gone) = [event async for event in events]

    assert (kind, used["status"], used["type"]) == ("problem", 409, "urn:perdure:problem:key-used")
    assert (last, gone["status"], gone["type"]) == ("problem", 410, "urn:perdure:problem:session-gone")


async def test_a_deletion_and_a_key_in_use_are_problems_in_the_last_event() -> None:
    gate = Gate()
    async with world.serve(world.app_of(ScriptedChatClient(gate))) as served:
        async with _asking(served, session_id="s2") as events:
            await gate.asked.wait()
            assert (await served.call("DELETE", "agents/helper/sessions/s2")).status_code == 204
            *_, (last, gone) = [event async for event in events]
        gate.opened.set()
        await served.say("Hi", session_id="s1", correlation_id="c1")
        *_, (kind, used) = await heard(served, message="Something else", correlation_id="c1")

    assert (kind, used["status"], used["type"]) == ("problem", 409, "urn:perdure:problem:key-used")
    assert (last, gone["status"], gone["type"]) == ("problem", 410, "urn:perdure:problem:session-gone")


async def test_who_also_takes_json_gets_the_plain_answer() -> None:
    async with world.serve(world.app_of(ScriptedChatClient(["Yes."]))) as served:
        answer = await served.say("Hi", headers={"accept": "application/json, text/event-stream"})

    assert answer.json()["response"] == "Yes."


async def test_a_text_is_asked_and_heard_too() -> None:
    async with world.serve(world.app_of(ScriptedChatClient(["Yes, I do."]))) as served:
        answer = await served.call("POST", "agents/helper/run", content="Do you?", headers=EVENTS)

    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds[-1] == "answer" and set(kinds[:-1]) == {"delta"}


@pytest.mark.parametrize("streams", [True, False])
@live
async def test_the_app_s_callback_is_told_as_well(streams: bool) -> None:
    listening = Listening()
    agent: Any = Agent(client=ScriptedChatClient(["Yes, I do."]), name="helper") if streams else Mute()
    async with world.serve(AgentFunctionApp(agents=[agent], default_callback=listening)) as served:
        events = await heard(served)

    assert listening.whole == [events[-1][1]["response"]]
    assert "".join(listening.pieces) == _text(events) == ("Yes, I do." if streams else "")


@live
async def test_nobody_who_does_not_ask_for_it_makes_an_agent_stream() -> None:
    client = ScriptedChatClient(["One.", "Two."])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", session_id="s1")
        await heard(served)

    assert [request.stream for request in client.requests] == [False, True]
