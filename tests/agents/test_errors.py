from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Content, Message, tool
from tests.agents import world

from perdure.testing import ScriptedChatClient, tool_call


async def test_a_failed_agent_run_is_500_with_the_reason_and_never_200() -> None:
    client = ScriptedChatClient([ValueError("the model is out"), "Back again."])
    async with world.serve(world.app_of(client)) as served:
        failed = await served.say("Hi", session_id="s1", correlation_id="c1")
        after = await served.say("Are you there?", session_id="s1")

    assert failed.status_code == 500
    assert failed.json() == {
        "response": None,
        "message": "Hi",
        "session_id": "s1",
        "thread_id": "s1",
        "status": "error",
        "correlation_id": "c1",
        "message_count": 2,
        "error": "ValueError: the model is out",
    }
    assert after.status_code == 200


async def test_a_failed_run_asked_in_text_is_500_with_the_reason_in_text() -> None:
    async with world.serve(world.app_of(ScriptedChatClient([ValueError("the model is out")]))) as served:
        failed = await served.call("POST", "agents/helper/run", content="Hi", headers={"content-type": "text/plain"})

    assert failed.status_code == 500
    assert failed.text == "ValueError: the model is out"


@pytest.mark.parametrize("crash", [False, True])
async def test_errors_are_remembered_as_errors_and_not_replayed_to_the_model(crash: bool) -> None:
    client = ScriptedChatClient(["Hello.", ValueError("the model is out"), "Back again."])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", session_id="s1")
        await served.say("Still there?", session_id="s1")
        if crash:
            await served.crash()
        await served.say("And now?", session_id="s1")
        read = await served.conversation("s1")

    assert world.told(client) == [("user", "Hi"), ("assistant", "Hello."), ("user", "And now?")]
    assert [turn["status"] for turn in read["turns"]] == ["success", "error", "success"]
    assert read["turns"][1]["error"] == "ValueError: the model is out"
    assert read["turns"][1]["request"][0]["contents"][0]["text"] == "Still there?"
    assert read["message_count"] == 6


@pytest.mark.parametrize("crash", [False, True])
async def test_reasoning_is_remembered_and_not_replayed(crash: bool) -> None:
    thought = [Content.from_text_reasoning(text="They greet me."), Content.from_text("Hello.")]
    client = ScriptedChatClient([thought, "Goodbye."])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", session_id="s1")
        if crash:
            await served.crash()
        await served.say("Bye", session_id="s1")
        read = await served.conversation("s1")

    replayed = client.requests[1].messages[1]
    assert [content.type for content in replayed.contents] == ["text"]
    assert [part["type"] for part in read["turns"][0]["response"][0]["contents"]] == ["text_reasoning", "text"]


async def test_an_error_that_the_model_s_service_sent_is_not_replayed_either() -> None:
    refusing = Message("assistant", [Content.from_error(message="overloaded", error_code="529")])
    client = ScriptedChatClient([refusing, "Hello."])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", session_id="s1")
        await served.say("Hi again", session_id="s1")

    assert world.told(client) == [("user", "Hi"), ("user", "Hi again")]


async def test_a_tool_that_raises_is_told_to_the_model_and_the_turn_goes_on() -> None:
    @tool(approval_mode="never_require")
    def stock(item: str) -> str:
        """Say how many there are."""
        raise RuntimeError("the warehouse is closed")

    client = ScriptedChatClient([tool_call("stock", {"item": "tea"}), "I cannot say.", "As I said."])
    async with world.serve(world.app_of(client, tools=[stock])) as served:
        answer = await served.say("How much tea?", session_id="s1")
        await served.crash()
        again = await served.say("Really?", session_id="s1")

    assert answer.json()["response"] == "I cannot say."
    assert again.json()["response"] == "As I said."
    kinds = [content.type for message in client.requests[2].messages for content in message.contents]
    assert kinds == ["text", "function_call", "function_result", "text", "text"]


async def test_an_agent_that_ends_itself_fails_its_turn_and_no_more() -> None:
    def leave(messages: Any, options: Any) -> str:
        if messages[-1].text == "leave":
            raise SystemExit(3)
        return "Here."

    async with world.serve(world.app_of(ScriptedChatClient(leave))) as served:
        failed = await served.say("leave", session_id="s1")
        after = await served.say("Hi", session_id="s1")

    assert failed.status_code == 500 and "sys.exit(3)" in failed.json()["error"]
    assert after.json()["response"] == "Here."
