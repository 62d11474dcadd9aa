"""Agents inside hand-written orchestrations: ``app.get_agent``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agent_framework import AgentSession
from tests.agents.test_idempotency import Gate

from perdure import AgentSessionId, DurableAgentSession, UsageError
from perdure.hosts.local.functions import agents, steps
from perdure.testing import ScriptedChatClient

from .conftest import PATIENCE_SECONDS, ROOT, Serve, Served


async def serving(serve: Serve, answer: Any = None) -> tuple[Served, ScriptedChatClient]:
    served: Served = await serve("agents")
    client: ScriptedChatClient = served.module.client
    if answer is not None:
        served.module.answer = answer
    return served, client


def told(client: ScriptedChatClient, number: int = -1) -> list[str]:
    return [message.text for message in client.requests[number].messages]


async def test_turns_of_a_session_see_its_conversation_and_a_turn_without_one_is_alone(serve: Serve) -> None:
    served, client = await serving(serve)

    output = await served.output("draft")
    read = await served.ask("GET", f"/api/agents/Writer/sessions/{output['key']}")

    assert output["texts"] == ["heard one", "heard two", "heard three"]
    assert told(client, 1) == ["one", "heard one", "two"] and told(client, 2) == ["three"]
    assert read.json()["message_count"] == 4, "the session is the one that HTTP knows"


async def test_a_replay_never_runs_the_agent_again(serve: Serve) -> None:
    served, client = await serving(serve)

    await served.output("draft")

    assert len(served.module.runs) > 3 and len(client.requests) == 3


async def test_turns_run_together_in_task_all_and_give_their_answers_in_order(serve: Serve) -> None:
    served, client = await serving(serve)

    assert await served.output("together") == [*(f"heard part {n}" for n in range(5)), "heard all"]
    assert len(client.requests) == 6


async def test_a_turn_wins_over_a_timer_in_task_any(serve: Serve) -> None:
    served, _ = await serving(serve)

    assert await served.output("first_of") == "heard quick"


async def test_a_response_format_gives_a_value_of_that_model(serve: Serve) -> None:
    served, client = await serving(serve, lambda messages, options: '{"good": true, "why": "It rhymes."}')

    assert await served.output("judged") == ["Verdict", True, "It rhymes."]
    assert client.requests[0].options["response_format"] is served.module.Verdict, "the agent gets the model itself"


async def test_a_response_format_that_no_other_process_could_import_travels_as_its_schema(serve: Serve) -> None:
    served, client = await serving(serve, lambda messages, options: '{"good": true}')

    assert await served.output("locally_judged") == ["Own", True]
    assert client.requests[0].options["response_format"]["properties"]["good"]["type"] == "boolean"


async def test_a_failure_of_the_agent_is_an_exception_with_the_reason(serve: Serve) -> None:
    def fails(messages: Any, options: Any) -> str:
        raise RuntimeError("the model is down")

    served, client = await serving(serve, fails)

    assert await served.output("caught") == ["Writer", "RuntimeError: the model is down"]
    ended = await served.ended(await served.start("uncaught"))
    assert ended["runtimeStatus"] == "Failed"
    assert "Agent 'Writer' failed: RuntimeError: the model is down" in ended["output"]
    assert len(client.requests) == 2


async def test_an_answer_that_is_not_of_the_format_asked_for_is_a_failure(serve: Serve) -> None:
    served, _ = await serving(serve, lambda messages, options: "It is good.")

    ended = await served.ended(await served.start("judged"))

    assert ended["runtimeStatus"] == "Failed"
    assert "Agent 'Critic' failed: Unfit: Agent 'Critic' was asked for structured output" in ended["output"]


async def test_an_orchestration_does_not_wait_for_what_it_was_told_not_to_wait_for(serve: Serve) -> None:
    served, client = await serving(serve)

    first, second, third = await served.output("sent")

    assert first.startswith("Request accepted") and second.startswith("Request accepted")
    assert third == "heard three"
    assert told(client) == ["one", "heard one", "two", "heard two", "three"], "what was sent is not lost, nor reordered"


async def test_images_and_several_messages_reach_the_agent(serve: Serve) -> None:
    served, client = await serving(serve)

    assert await served.output("seen") == "heard What is it?"
    system, user = client.requests[0].messages
    assert (system.role, system.text) == ("system", "Be brief.")
    assert [content.type for content in user.contents] == ["text", "data"]


async def test_a_session_goes_on_in_the_next_execution(serve: Serve) -> None:
    served, client = await serving(serve)

    assert await served.output("again") == "heard again"
    assert told(client) == ["again", "heard again", "again"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (
            ["Nobody", {"messages": "x"}],
            "Agent 'Nobody' is not registered with this app; registered: 'Writer', 'Critic'.",
        ),
        (["Writer", {"messages": ""}], "An agent must be told something"),
        (["Writer", {}], "An agent must be told something"),
        (["Writer", {"messages": "x", "stream": True}], "does not stream"),
        (["Writer", {"messages": "x", "options": {"response_format": 7}}], "response_format is 7"),
        (["Writer", {"messages": "x", "session": ["Critic", "s"]}], "belongs to another agent than 'Writer'"),
        (["Writer", {"messages": "x", "session": ["Writer", "a/b"]}], "session_id is 'a/b'"),
    ],
)
async def test_what_cannot_be_asked_of_an_agent_fails_at_once(serve: Serve, asked: list[Any], why: str) -> None:
    served, client = await serving(serve)

    ended = await served.ended(await served.start("wrong", json.dumps(asked)))

    assert ended["runtimeStatus"] == "Failed" and why in ended["output"]
    assert client.requests == []


@pytest.mark.parametrize("operation", ["run", "run_agent"])
async def test_a_signal_to_an_agents_entity_is_a_turn(serve: Serve, operation: str) -> None:
    served, client = await serving(serve)

    path = f"{ROOT}/entities/dafx-Writer/s1?op={operation}"
    sent = await served.ask("POST", path, json={"message": "Hi", "correlationId": "c1"})
    answer = await served.ask("POST", "/api/agents/Writer/run", json={"message": "And?", "session_id": "s1"})

    assert sent.status_code == 202 and answer.json()["message_count"] == 4
    assert told(client) == ["Hi", "heard Hi", "And?"]


async def test_a_reset_of_an_agents_entity_forgets_the_conversation(serve: Serve) -> None:
    served, client = await serving(serve)

    assert await served.output("forgotten") == {"status": "reset"}
    assert told(client) == ["two"]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("operation", "body", "why"),
    [
        ("run", {"message": ""}, "Message is required"),
        ("run", {"messages": [7]}, "/messages/0"),
        ("forget", {}, "An agent has no operation 'forget'"),
    ],
)
async def test_a_signal_that_an_agent_cannot_take_is_logged(
    serve: Serve, operation: str, body: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    served, client = await serving(serve)
    message = steps.Step(0, "signal", "@dafx-writer@s1", json.dumps(body), operation=operation, request="r")

    with pytest.raises(agents.Refused, match=why):
        await served.host.functions.entities.take(message)

    assert why in caplog.text and client.requests == []


async def test_a_crash_in_the_model_call_neither_loses_nor_doubles_a_turn(serve: Serve) -> None:
    gate = Gate()
    served, client = await serving(serve, gate)

    instance_id = await served.start("draft")
    await asyncio.wait_for(gate.asked.wait(), PATIENCE_SECONDS)
    await served.host.crash()
    gate.opened.set()
    await served.host.restart()
    output = (await served.ended(instance_id))["output"]

    assert output["texts"] == ["heard one", "heard two", "heard three"]
    assert [told(client, number)[-1] for number in range(len(client.requests))] == ["one", "one", "two", "three"]
    read = await served.ask("GET", f"/api/agents/Writer/sessions/{output['key']}")
    assert read.json()["message_count"] == 4, "the call in flight is made again, and is one turn"


async def test_a_crash_between_turns_asks_nothing_answered_again(serve: Serve) -> None:
    held, opened = asyncio.Event(), asyncio.Event()

    async def second_waits(messages: Any, options: Any) -> str:
        if messages[-1].text == "two":
            held.set()
            await opened.wait()
        return f"heard {messages[-1].text}"

    served, client = await serving(serve, second_waits)
    instance_id = await served.start("draft")
    await asyncio.wait_for(held.wait(), PATIENCE_SECONDS)
    await served.host.crash()
    opened.set()
    await served.host.restart()

    assert (await served.ended(instance_id))["output"]["texts"] == ["heard one", "heard two", "heard three"]
    assert [told(client, number)[-1] for number in range(len(client.requests))] == ["one", "two", "two", "three"]


@pytest.mark.embedded
async def test_a_session_deleted_under_a_turn_fails_it(serve: Serve) -> None:
    gate = Gate()
    served, _ = await serving(serve, gate)
    instance_id = await served.start("sent")
    await asyncio.wait_for(gate.asked.wait(), PATIENCE_SECONDS)

    deleted = await served.ask("DELETE", "/api/agents/Writer/sessions/kept")
    ended = await served.ended(instance_id)

    assert deleted.status_code < 300 and ended["runtimeStatus"] == "Failed"
    assert "The session 'kept' was deleted" in ended["output"]


@pytest.mark.embedded
async def test_a_function_with_the_durable_name_of_an_agent_is_refused(serve: Serve) -> None:
    app = """
# mypy: ignore-errors
from agent_framework import Agent

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient

app = AgentFunctionApp(agents=[Agent(client=ScriptedChatClient(["Yes."]), name="Writer")])


@app.entity_trigger(context_name="context", entity_name="DAFX-writer")
def clashing(context):
    pass
"""
    with pytest.raises(UsageError, match="The entity function 'DAFX-writer' has the durable name of an agent"):
        await serve(app)


def test_a_session_travels_as_plain_json() -> None:
    session = DurableAgentSession(durable_session_id=AgentSessionId("Writer", "a@b"))
    session.state["seen"] = 3

    again = DurableAgentSession.from_dict(json.loads(json.dumps(session.to_dict())))

    assert again.durable_session_id == AgentSessionId("Writer", "a@b") and again.session_id == "a@b"
    assert again.state == {"seen": 3} and isinstance(again, AgentSession)


@pytest.mark.parametrize(
    ("text", "agent", "named"),
    [("@W@k", None, ("W", "k")), ("@W@k", "Other", ("Other", "k")), ("k", "W", ("W", "k")), ("@@k", "W", ("W", "k"))],
)
def test_a_session_is_named_in_full_or_by_its_key(text: str, agent: str | None, named: tuple[str, str]) -> None:
    assert AgentSessionId.parse(text, agent) == AgentSessionId(*named)


def test_a_plain_key_names_no_session_without_its_agent() -> None:
    with pytest.raises(ValueError, match="no session of an agent"):
        AgentSessionId.parse("k")


async def test_an_agent_inside_a_workflow_is_had_by_its_workflow_and_has_no_route(serve: Serve) -> None:
    served: Served = await serve("""
# mypy: ignore-errors
from agent_framework import Agent, WorkflowBuilder

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient

writer = Agent(client=ScriptedChatClient(lambda messages, options: f"heard {messages[-1].text}"), name="writer")
app = AgentFunctionApp(workflow=WorkflowBuilder(name="line", start_executor=writer).build())


@app.orchestration_trigger(context_name="context")
def alone(context):
    inside = app.get_agent(context, "writer", workflow_name="line")
    return (yield inside.run("Hi")).text


@app.orchestration_trigger(context_name="context")
def unnamed(context):
    yield app.get_agent(context, "writer").run("Hi")
""")

    assert await served.output("alone") == "heard Hi"
    assert "Agent 'writer' is not registered with this app; registered: 'line-writer'" in await served.output("unnamed")
    for name in ("writer", "line-writer"):
        assert (await served.ask("POST", f"/api/agents/{name}/run", json={"message": "Hi"})).status_code == 404
