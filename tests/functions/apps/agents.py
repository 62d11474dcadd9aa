"""Orchestrations with agents in them."""

# mypy: ignore-errors
# pyright: basic, reportOptionalMemberAccess=false
from __future__ import annotations

import datetime

import azure.durable_functions as df
from agent_framework import Agent, Content, Message
from pydantic import BaseModel

from perdure import AgentFailed, AgentFunctionApp, DurableAgentSession
from perdure.testing import ScriptedChatClient


def answer(messages, options):
    return f"heard {messages[-1].text}"


def _answer(messages, options):
    # Looked up at each call: tests put another one there.
    return answer(messages, options)


client = ScriptedChatClient(_answer)
app = AgentFunctionApp(agents=[Agent(client=client, name="Writer", description="It writes.")])
app.add_agent(Agent(client=client, name="Critic"))
runs = []


class Verdict(BaseModel):
    good: bool
    why: str


@app.orchestration_trigger(context_name="context")
def draft(context):
    runs.append(context.is_replaying)
    writer = app.get_agent(context, "writer")
    session = writer.create_session()
    first = yield writer.run("one", session=session)
    second = yield writer.run("two", session=session)
    third = yield writer.run("three")
    return {"texts": [each.text for each in (first, second, third)], "key": session.durable_session_id.key}


@app.orchestration_trigger(context_name="context")
def together(context):
    writer, critic = app.get_agent(context, "Writer"), app.get_agent(context, "Critic")
    tasks = [writer.run(f"part {number}") for number in range(5)] + [critic.run("all")]
    return [each.text for each in (yield context.task_all(tasks))]


@app.orchestration_trigger(context_name="context")
def first_of(context):
    asked = app.get_agent(context, "Writer").run("quick")
    timer = context.create_timer(context.current_utc_datetime + datetime.timedelta(hours=1))
    winner = yield context.task_any([asked, timer])
    assert winner is asked
    timer.cancel()
    return winner.result.text


@app.orchestration_trigger(context_name="context")
def judged(context):
    critic = app.get_agent(context, "Critic")
    answer = yield critic.run("Is it good?", options={"response_format": Verdict})
    return [type(answer.value).__name__, answer.value.good, answer.value.why]


@app.orchestration_trigger(context_name="context")
def locally_judged(context):
    class Own(BaseModel):
        good: bool

    answer = yield app.get_agent(context, "Critic").run("?", options={"response_format": Own})
    return [type(answer.value).__name__, answer.value.good]


@app.orchestration_trigger(context_name="context")
def caught(context):
    try:
        yield app.get_agent(context, "Writer").run("one")
    except AgentFailed as failed:
        return [failed.agent, failed.reason]


@app.orchestration_trigger(context_name="context")
def uncaught(context):
    yield app.get_agent(context, "Writer").run("one")


@app.orchestration_trigger(context_name="context")
def sent(context):
    writer = app.get_agent(context, "Writer")
    session = writer.create_session(session_id="kept")
    accepted = yield writer.run("one", session=session, options={"wait_for_response": False})
    both = yield context.task_all(
        [
            writer.run("two", session=session, options={"wait_for_response": False}),
            writer.run("three", session=session),
        ]
    )
    return [accepted.text, both[0].text, both[1].text]


@app.orchestration_trigger(context_name="context")
def seen(context):
    picture = Content.from_uri("data:image/png;base64,iVBORw0KGgo=", media_type="image/png")
    told = [Message("system", ["Be brief."]), Message("user", ["What is it?", picture])]
    return (yield app.get_agent(context, "Writer").run(told)).text


@app.orchestration_trigger(context_name="context")
def wrong(context):
    agent, arguments = context.get_input()
    session = arguments.pop("session", None)
    if session is not None:
        arguments["session"] = app.get_agent(context, session[0]).create_session(session_id=session[1])
    yield app.get_agent(context, agent).run(**arguments)


@app.orchestration_trigger(context_name="context")
def again(context):
    given = context.get_input()
    writer = app.get_agent(context, "Writer")
    session = writer.create_session() if given is None else DurableAgentSession.from_dict(given["session"])
    answer = yield writer.run("again", session=session)
    if given is not None:
        return answer.text
    context.continue_as_new({"session": session.to_dict()})


@app.orchestration_trigger(context_name="context")
def forgotten(context):
    writer = app.get_agent(context, "Writer")
    session = writer.create_session(session_id="s1")
    yield writer.run("one", session=session)
    said = yield context.call_entity(df.EntityId("dafx-Writer", "s1"), "reset")
    yield writer.run("two", session=session)
    return said
