from __future__ import annotations

import http.server
import threading
from typing import Any

import msgspec
import pytest
from agent_framework import Content, Message, tool
from tests.agents import world

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient, tool_call, wire


class Garbage:
    """A model's service that answers 200 with these bodies, whatever it is asked."""

    def __init__(self, bodies: list[bytes]) -> None:
        left = iter(bodies)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                body = next(left)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Garbage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


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


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{",
        b"",
        b"[1]",
        b'{"a": 1}',
        b'{"id": "1", "object": "chat.completion", "created": 1, "choices": null}',
    ],
)
async def test_garbage_from_the_model_is_an_error_with_the_reason_and_the_session_goes_on(
    body: bytes,
) -> None:
    good = msgspec.json.encode(wire.completion(wire.Turn(1, "scripted", "Here.", ())))
    with Garbage([body, good]) as server:
        async with world.serve_over(server) as served:
            failed = await served.say("Hi", session_id="s1")
            after = await served.say("Are you there?", session_id="s1")

    assert failed.status_code == 500 and failed.json()["response"] is None
    assert failed.json()["error"].startswith("ChatClientException: ")
    assert after.json()["response"] == "Here."


async def test_a_model_that_says_nothing_has_said_nothing_and_the_session_goes_on() -> None:
    async with world.serve(world.app_of(ScriptedChatClient(["", "Here."]))) as served:
        silent = await served.say("Hi", session_id="s1")
        after = await served.say("Are you there?", session_id="s1")

    assert (silent.status_code, silent.json()["response"], silent.json()["status"]) == (200, "", "success")
    assert after.json()["response"] == "Here."


@pytest.mark.parametrize("as_text", [False, True])
async def test_half_a_character_from_the_model_is_shown_as_one_that_is_missing(as_text: bool) -> None:
    async with world.serve(world.app_of(ScriptedChatClient(["a\ud800b"]))) as served:
        if as_text:
            answer = await served.call(
                "POST", "agents/helper/run", content="Hi", headers={"content-type": "text/plain"}
            )
        else:
            answer = await served.say("Hi")

    assert answer.status_code == 200
    assert (answer.text if as_text else answer.json()["response"]) == "a?b"


class _Answers:
    """An agent as someone might write it, which gives what is no response."""

    id = name = "helper"
    description = None

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def run(self, messages: Any = None, **options: Any) -> Any:
        return self._answer


@pytest.mark.parametrize("answer", [None, "text", {"text": "x"}])
async def test_an_agent_that_gives_no_response_is_an_error_that_says_so(answer: Any) -> None:
    app = AgentFunctionApp(agents=[_Answers(answer)], app_folder=world.TESTS)  # type: ignore[list-item]  # pyright: ignore
    async with world.serve(app) as served:
        failed = await served.say("Hi")

    assert failed.status_code == 500 and "run() must give an AgentResponse" in failed.json()["error"]


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
