"""Agents as MCP tools, called with the official client over a real port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import mcp
import mcp_types as types
import pytest
from agent_framework import Agent, Message, WorkflowBuilder
from tests.agents import world
from tests.agents.test_idempotency import Gate

from perdure import AgentFunctionApp, UsageError
from perdure.hosts import local
from perdure.hosts.local import cors, settings
from perdure.testing import LocalHost, ScriptedChatClient

PATIENCE_SECONDS = 30.0
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
ERAS = ["auto", "legacy"]
"""How a client connects: as of 2026, and with the handshake that most clients still begin with."""


def echo(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
    return f"heard {messages[-1].text}"


def app_of(answer: Any = echo, **options: Any) -> AgentFunctionApp:
    app = AgentFunctionApp(enable_mcp_tool_trigger=True, app_folder=world.TESTS, **options)
    app.add_agent(Agent(client=ScriptedChatClient(answer), name="helper", description="It helps."))
    return app


def address(host: LocalHost) -> str:
    return f"{host.url}/runtime/webhooks/mcp"


@contextlib.asynccontextmanager
async def connected(host: LocalHost, mode: Any = "auto") -> AsyncIterator[mcp.Client]:
    async with mcp.Client(address(host), mode=mode, read_timeout_seconds=PATIENCE_SECONDS) as client:
        yield client


def text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return str(content.text)


async def ask(client: mcp.Client, query: str, session_id: str | None = None, tool: str = "helper") -> str:
    arguments = {"query": query} | ({} if session_id is None else {"sessionId": session_id})
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text(result)
    return text(result)


@pytest.mark.parametrize("mode", ERAS)
async def test_an_agent_is_a_tool_with_its_name_and_description(mode: str) -> None:
    app = app_of()
    app.add_agent(Agent(client=ScriptedChatClient(echo), name="hidden"), enable_mcp_tool_trigger=False)
    app.add_agent(Agent(client=ScriptedChatClient(echo), name="Trip planner"))
    async with world.serve(app) as served, connected(served.host, mode) as client:
        helper, planner = (await client.list_tools()).tools
        answer = await ask(client, "Where to?", tool=planner.name)
        health = (await served.call("GET", "health")).json()

    assert (helper.name, helper.title, helper.description) == ("helper", "helper", "It helps.")
    assert helper.input_schema["required"] == ["query"]
    assert {name: part["type"] for name, part in helper.input_schema["properties"].items()} == {
        "query": "string",
        "sessionId": "string",
    }
    assert planner.name.startswith("Trip_planner-") and planner.title == "Trip planner"
    assert answer == "heard Where to?"
    assert [agent["mcp_tool_enabled"] for agent in health["agents"]] == [True, False, True]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_is_durable_and_the_one_of_the_http_api(mode: str) -> None:
    chat = ScriptedChatClient(echo)
    app = AgentFunctionApp(enable_mcp_tool_trigger=True, app_folder=world.TESTS)
    app.add_agent(Agent(client=chat, name="helper"))
    async with world.serve(app) as served:
        async with connected(served.host, mode) as client:
            await ask(client, "one", "s1")
        await served.crash()
        async with connected(served.host, mode) as client:
            await ask(client, "two", "s1")
            alone = await client.call_tool("helper", {"query": "three"})
        read = await served.conversation("s1")
        other = await served.conversation((alone.meta or {})["sessionId"])

    assert [message.text for message in chat.requests[1].messages] == ["one", "heard one", "two"]
    assert [message.text for message in chat.requests[2].messages] == ["three"]
    assert (read["message_count"], other["message_count"]) == (4, 2)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_goes_on_after_a_restart_of_the_host(mode: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with world.serve(app_of(), port=port) as served, connected(served.host, mode) as client:
        first = await ask(client, "one", "s1")
        await served.host.restart()
        second = await ask(client, "two", "s1")

    assert (first, second) == ("heard one", "heard two")


async def test_several_clients_at_once_each_get_their_own_answer() -> None:
    async def talk(host: LocalHost, number: int) -> list[str]:
        async with connected(host, ERAS[number % 2]) as client:
            return [await ask(client, f"{number}.{turn}", f"s{number}") for turn in range(3)]

    async with world.serve(app_of()) as served:
        answers = await asyncio.gather(*(talk(served.host, number) for number in range(12)))

    assert answers == [[f"heard {number}.{turn}" for turn in range(3)] for number in range(12)]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_failure_of_the_agent_is_an_error_that_the_caller_sees(mode: str) -> None:
    def fails(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        raise RuntimeError("the model is down")

    async with world.serve(app_of(fails)) as served, connected(served.host, mode) as client:
        result = await client.call_tool("helper", {"query": "Hi"})

    assert result.is_error and text(result) == "The agent failed: RuntimeError: the model is down"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "The argument 'query' is missing"),
        ({"query": "  "}, "The argument 'query' is missing"),
        ({"query": 7}, "The argument 'query' is missing"),
        ({"query": "x", "sessionId": 7}, "The argument 'sessionId' must be a text."),
        ({"query": "x", "sessionId": "a/b"}, "session_id is 'a/b'"),
        ({"query": "x", "sessionId": "a" * 256}, "ids of sessions have 1 to 255 characters"),
        ({"query": "x", "sessionId": "a", "threadId": "b"}, "sessionId and threadId disagree"),
    ],
)
async def test_wrong_arguments_are_errors_that_say_what_to_do(arguments: dict[str, Any], why: str) -> None:
    async with world.serve(app_of([])) as served, connected(served.host) as client:
        result = await client.call_tool("helper", arguments)

    assert result.is_error and why in text(result)


async def test_the_old_name_of_the_session_is_understood_and_a_blank_one_is_none() -> None:
    async with world.serve(app_of()) as served, connected(served.host) as client:
        result = await client.call_tool("helper", {"query": "x", "sessionId": " ", "threadId": "@helper@s1"})

    assert (result.meta or {})["sessionId"] == "s1"


@pytest.mark.parametrize("mode", ERAS)
async def test_an_unknown_tool_is_an_error_of_the_protocol(mode: str) -> None:
    async with world.serve(app_of([])) as served, connected(served.host, mode) as client:
        with pytest.raises(mcp.MCPError, match="There is no tool 'nobody' here") as raised:
            await client.call_tool("nobody", {"query": "x"})

    assert raised.value.code == types.INVALID_PARAMS


async def test_an_answer_that_takes_too_long_is_told_of_and_not_lost() -> None:
    gate = Gate()
    app = app_of(gate, max_poll_retries=1, poll_interval_seconds=0.1)
    async with world.serve(app) as served, connected(served.host) as client:
        result = await client.call_tool("helper", {"query": "Hi", "sessionId": "s1"})
        gate.opened.set()
        # Stands in line behind the turn that was given up.
        again = await served.say("And?", session_id="s1", headers={"Prefer": "wait=30"})

    assert result.is_error and "has not answered within 0.1 seconds" in text(result) and "'s1'" in text(result)
    assert again.json()["message_count"] == 4


@pytest.mark.parametrize("mode", ERAS)
async def test_a_caller_that_cancels_gives_up_waiting_and_the_turn_goes_on(mode: str) -> None:
    gate = Gate()
    async with world.serve(app_of(gate)) as served, connected(served.host, mode) as client:
        call = asyncio.create_task(client.call_tool("helper", {"query": "Hi", "sessionId": "s1"}))
        await asyncio.wait_for(gate.asked.wait(), PATIENCE_SECONDS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.opened.set()
        after = await ask(client, "And?", "s1")
        read = await served.conversation("s1")

    assert after == "heard And?" and read["message_count"] == 4


async def test_a_turn_whose_call_a_crash_cut_off_is_answered_after_the_restart() -> None:
    gate = Gate()
    async with world.serve(app_of(gate)) as served:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            asked = {"name": "helper", "arguments": {"query": "Hi", "sessionId": "s1"}}
            body = {**CALL, "method": "tools/call", "params": asked}
            call = asyncio.create_task(client.post(address(served.host), json=body, headers=HEADERS))
            await asyncio.wait_for(gate.asked.wait(), PATIENCE_SECONDS)
            await served.host.crash()
            await asyncio.gather(call, return_exceptions=True)
        gate.opened.set()
        await served.host.restart()
        async with connected(served.host) as after:
            await ask(after, "And?", "s1")
        read = await served.conversation("s1")

    assert [turn["status"] for turn in read["turns"]] == ["success", "success"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:7071"}, 421),
        ({"host": "evil.example", "origin": "http://evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "https://friend.example"}, 200),
        ({"host": "hub.example"}, 200),
        ({"host": "localhost:1"}, 200),
        ({}, 200),
    ],
)
async def test_a_page_whose_name_was_made_to_point_here_does_not_get_through(
    headers: dict[str, str], status: int, tmp_path: Any
) -> None:
    told = settings.Settings(
        tmp_path, tmp_path / "hub", base_url="https://hub.example", cors=cors.Cors(("https://friend.example",))
    )
    async with world.serve(app_of([]), settings=told) as served, httpx.AsyncClient() as client:
        answer = await client.post(address(served.host), json=CALL, headers={**HEADERS, **headers})
        preflight = await client.options(
            address(served.host), headers={"origin": "https://friend.example", "access-control-request-headers": "x-a"}
        )

    assert answer.status_code == status
    if headers.get("origin") == "https://friend.example":
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    assert preflight.headers["access-control-allow-headers"] == "x-a"


async def test_a_body_over_the_limit_is_refused(tmp_path: Any) -> None:
    told = settings.Settings(tmp_path, tmp_path / "hub", body_limit=1000)
    async with world.serve(app_of([]), settings=told) as served, httpx.AsyncClient() as client:
        answer = await client.post(address(served.host), json={**CALL, "pad": "x" * 1000}, headers=HEADERS)

    assert answer.status_code == 413


async def test_a_workflow_as_an_agent_is_a_tool_too() -> None:
    writer = Agent(client=ScriptedChatClient(echo), name="writer")
    app = AgentFunctionApp(enable_mcp_tool_trigger=True, app_folder=world.TESTS)
    app.add_agent(WorkflowBuilder(name="line", start_executor=writer).build().as_agent("line"))
    async with world.serve(app) as served, connected(served.host) as client:
        assert await ask(client, "Hi", tool="line") == "heard Hi"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_no_stream_is_held_open_for_what_is_never_said(method: str) -> None:
    async with world.serve(app_of([])) as served, httpx.AsyncClient() as client:
        answer = await client.request(method, address(served.host), headers={"accept": "text/event-stream"})

    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


async def test_an_app_without_tools_has_nothing_there() -> None:
    async with world.serve(world.app_of(ScriptedChatClient([]))) as served, httpx.AsyncClient() as client:
        answer = await client.post(address(served.host), json=CALL, headers=HEADERS)

    assert answer.status_code == 404


async def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "perdure.hosts.local.mcp_tools", raising=False)
    monkeypatch.delattr(local, "mcp_tools", raising=False)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(UsageError, match=r"The agent 'helper' is an MCP tool.*pip install 'perdure\[mcp\]'"):
        async with world.serve(app_of()):
            pass


def test_the_package_is_loaded_only_where_an_agent_is_a_tool() -> None:
    code = (
        "import sys; import perdure.hosts.local.host; from perdure import AgentFunctionApp; AgentFunctionApp\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('mcp', 'mcp_types')))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)

    assert found.stdout.strip() == "[]"
