from __future__ import annotations

import asyncio
import socket
import threading
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from agent_framework import Agent
from agent_framework.exceptions import ChatClientException
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

from perdure.testing import model_server
from perdure.testing.model_server import ModelServer, Reply, ToolCall

KINDS = [OpenAIChatCompletionClient, OpenAIChatClient]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["completions", "responses"])
streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@asynccontextmanager
async def an_agent(server: ModelServer, kind: Any, tools: Any = None, retries: int = 0) -> AsyncIterator[Agent[Any]]:
    async with openai.AsyncOpenAI(api_key="none", base_url=server.base_url, max_retries=retries) as client:
        yield kind(model="scripted", async_client=client).as_agent(tools=tools)


async def ask(agent: Agent[Any], text: str, stream: bool) -> Any:
    return await (agent.run(text, stream=True).get_final_response() if stream else agent.run(text))


@kinds
@streams
async def test_the_framework_client_reads_the_answer(kind: Any, stream: bool) -> None:
    with ModelServer(["one two three"]) as server:
        async with an_agent(server, kind) as agent:
            answer = await ask(agent, "count", stream)
    assert answer.text == "one two three"
    assert answer.usage_details["total_token_count"] == 4
    (call,) = server.calls
    assert call.last_text == "count"


@kinds
@streams
async def test_the_framework_client_calls_tools(kind: Any, stream: bool) -> None:
    asked: list[str] = []

    def weather(city: str) -> str:
        """Say the weather."""
        asked.append(city)
        return f"sun in {city}"

    calls = Reply(tool_calls=(ToolCall("weather", {"city": "Bonn"}), ToolCall("weather", {"city": "Kiel"})))
    with ModelServer([calls, "Sun."]) as server:
        async with an_agent(server, kind, [weather]) as agent:
            answer = await ask(agent, "How is the weather?", stream)
    assert answer.text == "Sun."
    assert sorted(asked) == ["Bonn", "Kiel"]
    assert len(server.calls) == 2


async def test_without_a_script_it_echoes() -> None:
    with ModelServer() as server:
        async with an_agent(server, OpenAIChatCompletionClient) as agent:
            assert (await agent.run("hello")).text == "hello"


@kinds
@pytest.mark.parametrize("status", [429, 500])
async def test_an_error_is_retried_when_it_says_so(kind: Any, status: int) -> None:
    with ModelServer([Reply("busy", status=status, retry_after=0.001), "done"]) as server:
        async with an_agent(server, kind, retries=1) as agent:
            assert (await agent.run("hello")).text == "done"
    assert len(server.calls) == 2


@kinds
@streams
@pytest.mark.parametrize("cut_after", [0, 2])
async def test_a_cut_connection_is_an_error_of_the_client(kind: Any, stream: bool, cut_after: int) -> None:
    with ModelServer([Reply("one two three", cut_after=cut_after)]) as server:
        async with an_agent(server, kind) as agent:
            with pytest.raises(ChatClientException):
                await ask(agent, "count", stream)


async def test_an_answer_waits_for_its_event() -> None:
    release = threading.Event()
    reached = threading.Event()

    def answer(call: model_server.Call) -> Reply:
        reached.set()
        return Reply("late", wait_for=release)

    with ModelServer(answer) as server:
        async with an_agent(server, OpenAIChatCompletionClient) as agent:
            task = asyncio.ensure_future(agent.run("hello"))
            await asyncio.to_thread(reached.wait)
            assert not task.done()
            release.set()
            assert (await task).text == "late"


@kinds
async def test_a_stream_waits_in_the_middle(kind: Any) -> None:
    release = threading.Event()
    with ModelServer([Reply("one two three", wait_for=release, wait_after=4)]) as server:
        async with an_agent(server, kind) as agent:
            heard = ""
            async for update in agent.run("count", stream=True):
                if update.text and not heard:
                    # It has begun to speak while the event is not set.
                    release.set()
                # The responses API says the whole once more in the end, to replace its pieces.
                heard += "".join(part.text or "" for part in update.contents if part.merge_mode != "replace")
            assert heard == "one two three"


async def test_closing_lets_go_of_what_waits() -> None:
    reached = threading.Event()

    def answer(call: model_server.Call) -> Reply:
        reached.set()
        return Reply("never asked for", wait_for=threading.Event())

    server = ModelServer(answer).start()
    async with an_agent(server, OpenAIChatCompletionClient) as agent:
        task = asyncio.ensure_future(agent.run("hello"))
        await asyncio.to_thread(reached.wait)
        await asyncio.to_thread(server.close)
        assert (await task).text == "never asked for"


def test_closing_does_not_wait_for_a_client_that_never_finishes_its_request() -> None:
    """Such as one on the loop that closes the server, and so cannot."""
    server = ModelServer().start()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    address = urllib.parse.urlsplit(server.base_url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=20) as client:
        client.sendall(head)
        assert client.recv(100).startswith(b"HTTP/1.1 100"), "the body is not waited for yet"
        closing = threading.Thread(target=server.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()


def test_a_call_past_the_script_is_refused_in_words() -> None:
    with ModelServer([]) as server:
        answer = httpx.post(f"{server.base_url}/chat/completions", json={"model": "m", "messages": []})
    assert answer.status_code == 400
    assert "script has 0 answers" in answer.json()["error"]["message"]
