from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Agent, AgentResponse, AgentResponseUpdate, WorkflowBuilder
from tests.agents import world

from perdure import AgentCallbackContext, AgentFunctionApp
from perdure.testing import ModelServer, ScriptedChatClient
from perdure.testing.model_server import Reply


class Listening:
    """A callback that remembers what it was told."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.whole: list[str] = []
        self.contexts: list[AgentCallbackContext] = []

    async def on_streaming_response_update(self, update: AgentResponseUpdate, context: AgentCallbackContext) -> None:
        self.pieces.append(update.text)

    async def on_agent_response(self, response: AgentResponse[Any], context: AgentCallbackContext) -> None:
        self.whole.append(response.text)
        self.contexts.append(context)


class Plain:
    """A callback without async, which raises too."""

    def __init__(self) -> None:
        self.told = 0

    def on_streaming_response_update(self, update: AgentResponseUpdate, context: AgentCallbackContext) -> None:
        self.told += 1
        raise ValueError("nobody cares")

    def on_agent_response(self, response: AgentResponse[Any], context: AgentCallbackContext) -> None:
        self.told += 1
        raise ValueError("nobody cares")


async def test_a_callback_is_told_of_each_piece_and_of_the_whole() -> None:
    heard = Listening()
    client = ScriptedChatClient(["Hello, dear Ann."])
    app = AgentFunctionApp(agents=[Agent(client=client, name="helper")], default_callback=heard)
    async with world.serve(app) as served:
        answer = await served.say("I am Ann.", session_id="s1", correlation_id="c1")

    assert "".join(heard.pieces) == "Hello, dear Ann." and len(heard.pieces) > 2
    assert heard.whole == [answer.json()["response"]]
    assert heard.contexts == [AgentCallbackContext("helper", "c1", "s1", "I am Ann.")]
    assert client.requests[0].stream


async def test_the_app_s_callback_is_told_of_agents_inside_workflows() -> None:
    heard = Listening()
    first: Any = Agent(client=ScriptedChatClient(["Draft of three words."]), name="writer")
    second: Any = Agent(client=ScriptedChatClient(["Good as it is."]), name="critic")
    flow = WorkflowBuilder(start_executor=first, name="flow").add_edge(first, second).build()
    app = AgentFunctionApp(workflow=flow, default_callback=heard, app_folder=world.TESTS)
    async with world.serve(app) as served:
        ran = await served.call("POST", "workflow/flow/run?runId=r1", content="Write.", headers={"prefer": "wait=10"})

    assert "Good as it is." in ran.text
    assert heard.whole == ["Draft of three words.", "Good as it is."]
    assert "".join(heard.pieces) == "".join(heard.whole) and len(heard.pieces) > 4
    assert [(context.agent_name, context.session_id) for context in heard.contexts] == [
        ("writer", "r1"),
        ("critic", "r1"),
    ]
    assert heard.contexts[0].request_message == "Write."
    assert len({context.correlation_id for context in heard.contexts}) == 2
    assert "run" not in vars(first) and "run" not in vars(second)


async def test_a_callback_that_raises_changes_nothing_in_a_workflow(caplog: pytest.LogCaptureFixture) -> None:
    broken = Plain()
    inner: Any = Agent(client=ScriptedChatClient(["Hello."]), name="inner")
    flow = WorkflowBuilder(start_executor=inner, name="flow").build()
    app = AgentFunctionApp(workflow=flow, default_callback=broken, app_folder=world.TESTS)
    async with world.serve(app) as served:
        ran = await served.call("POST", "workflow/flow/run", content="Hi", headers={"prefer": "wait=10"})

    assert ran.json()["runtimeStatus"] == "Completed" and broken.told > 1
    assert "A callback of agent 'inner' raised" in caplog.text


async def test_an_agent_s_own_callback_goes_before_the_app_s() -> None:
    own, shared = Listening(), Listening()
    app = AgentFunctionApp(default_callback=shared)
    app.add_agent(Agent(client=ScriptedChatClient(["One."]), name="one"), own)
    app.add_agent(Agent(client=ScriptedChatClient(["Two."]), name="two"))
    async with world.serve(app) as served:
        await served.say("Hi", agent="one")
        await served.say("Hi", agent="two")

    assert (own.whole, shared.whole) == (["One."], ["Two."])


async def test_a_callback_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    plain = Plain()
    app = AgentFunctionApp(
        agents=[Agent(client=ScriptedChatClient(["Hi there."]), name="helper")], default_callback=plain
    )
    async with world.serve(app) as served:
        answer = await served.say("Hi")

    assert answer.json()["response"] == "Hi there."
    assert plain.told > 2
    assert "A callback of agent 'helper' raised" in caplog.text


async def test_a_streamed_conversation_is_remembered_as_any_other() -> None:
    client = ScriptedChatClient(["Hello, Ann.", "You are Ann."])
    app = AgentFunctionApp(agents=[Agent(client=client, name="helper")], default_callback=Listening())
    async with world.serve(app) as served:
        await served.say("I am Ann.", session_id="s1")
        await served.crash()
        await served.say("Who am I?", session_id="s1")

    assert world.told(client) == [("user", "I am Ann."), ("assistant", "Hello, Ann."), ("user", "Who am I?")]


async def test_a_stream_that_breaks_is_not_a_second_call_and_what_was_heard_is_kept() -> None:
    heard = Listening()
    replies = [Reply("Once upon a time there was a queen.", cut_after=4), Reply("The end.")]
    with ModelServer(replies) as server:
        async with world.serve_over(server, heard) as served:
            broken = await served.say("Tell me a story.", session_id="s1", correlation_id="c1")
            again = await served.say("Tell me a story.", session_id="s1", correlation_id="c1")
            read = await served.conversation("s1")

    assert len(server.calls) == 1
    assert broken.status_code == again.status_code == 500
    assert broken.json() == again.json()
    begun = broken.json()["response"]
    assert begun and "Once upon a time there was a queen.".startswith(begun.strip())
    assert "".join(heard.pieces) == begun and heard.whole == []
    assert read["turns"][0]["status"] == "error"
    assert read["turns"][0]["response"][0]["contents"][0]["text"] == begun
