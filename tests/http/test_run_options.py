"""What a run is given beside its input, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from agent_framework import (
    Agent,
    AgentExecutor,
    Executor,
    FunctionInvocationContext,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    tool,
)
from agent_framework_orchestrations import SequentialBuilder

from perdure import AgentFunctionApp, testing
from perdure.workflow import options

MEDIA = {"content-type": f"{options.MEDIA_TYPE}; charset=utf-8"}


@tool
def weather(city: str, ctx: FunctionInvocationContext) -> str:
    """Tell the weather."""
    return f"rain in {city} for {ctx.kwargs.get('user', 'nobody')}"


class Copies(Executor):
    """Gives back what it is given."""

    @handler
    async def go(self, given: dict[str, Any], ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.yield_output(given)


class Halting(testing.ScriptedChatClient):
    """Waits, before the last word of a stream, until somebody has heard the first."""

    def __init__(self, answers: Any) -> None:
        super().__init__(answers)
        self.listening = asyncio.Event()
        self.heard = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def _stream(self, request: Any) -> AsyncIterator[Any]:
        self.loop = asyncio.get_running_loop()
        await self.listening.wait()
        async for update in super()._stream(request):
            if "last" in update.text:
                await self.heard.wait()
            yield update


def _answer(messages: Any, options: Any) -> Any:
    results = [item.result for message in messages for item in message.contents if item.type == "function_result"]
    if options.get("tools") and not results:
        return testing.tool_call("weather", {"city": "Ulm"})
    return f"said: {results} to the last"


@pytest.fixture
async def host() -> AsyncIterator[tuple[testing.LocalHost, httpx.AsyncClient, Halting]]:
    client = Halting(_answer)
    client.listening.set()
    client.heard.set()
    agent = Agent(client, name="writer", id="writer")
    workflow = SequentialBuilder(participants=[AgentExecutor(agent, id="writer")]).build()
    copy = WorkflowBuilder(start_executor=Copies(id="copies")).build()
    app = AgentFunctionApp(workflows={"flow": workflow, "copy": copy}, runtime_tools=[weather])
    async with (
        testing.LocalHost(app, port=0) as served,
        httpx.AsyncClient(base_url=f"{served.url}/api/", timeout=20, trust_env=False) as http,
    ):
        yield served, http, client


Host = tuple[testing.LocalHost, httpx.AsyncClient, Halting]


async def _run(http: httpx.AsyncClient, body: Any, query: str = "") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await http.post(f"workflow/flow/run{query}", content=content, headers={**MEDIA, "prefer": "wait=10"})


async def test_tools_and_arguments_are_given_with_the_run(host: Host) -> None:
    _, http, _ = host
    body = {"input": "go", "tools": ["weather"], "function_invocation_kwargs": {"user": "anna"}}
    answer = await _run(http, body)
    assert answer.status_code == 200, answer.text
    assert "rain in Ulm for anna" in answer.text


async def test_an_input_that_looks_like_options_is_an_input(host: Host) -> None:
    _, http, _ = host
    sent = {"input": "go", "stream": True, "tools": ["rm"]}
    answer = await http.post("workflow/copy/run", json=sent, headers={"prefer": "wait=10"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == [sent]
    enveloped = await http.post(
        "workflow/copy/run", content=json.dumps({"input": sent}), headers={**MEDIA, "prefer": "wait=10"}
    )
    assert enveloped.json()["output"] == [sent]


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        (b"{", "", "truncated"),
        ([1], "", "Expected `object`"),
        ({"tools": []}, "", "missing required field `input`"),
        ({"input": "x", "tool": []}, "", "unknown field `tool`"),
        ({"input": "x", "stream": "yes"}, "/stream", "Expected `bool`"),
        ({"input": "x", "tools": [1]}, "/tools/0", "Expected `str | object`"),
        ({"input": "x", "tools": ["rm"]}, "/tools/0", "unknown tool 'rm'"),
        ({"input": "x", "tools": [{}]}, "/tools/0", "neither a type"),
        ({"input": "x", "client_kwargs": [1]}, "/client_kwargs", "Expected `object | null`"),
    ],
)
async def test_options_that_are_none_are_refused_with_a_pointer(host: Host, body: Any, pointer: str, said: str) -> None:
    served, http, _ = host
    answer = await _run(http, body, "?runId=refused")
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert said in problem["errors"][0]["detail"]
    assert problem["errors"][0]["pointer"] == pointer
    assert await served.runs.get("refused") is None


@pytest.mark.parametrize("body", [{"input": None}, b""])
async def test_an_envelope_without_an_input_is_refused(host: Host, body: Any) -> None:
    _, http, _ = host
    answer = await _run(http, body)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:perdure:problem:empty-input"


async def test_the_same_id_with_other_options_is_another_request(host: Host) -> None:
    _, http, client = host
    body: dict[str, Any] = {"input": "go", "function_invocation_kwargs": {"user": "anna"}}
    assert (await _run(http, body, "?runId=r")).status_code == 200
    assert (await _run(http, body, "?runId=r")).status_code == 200
    assert len(client.requests) == 1
    for other in ({**body, "stream": True}, {**body, "tools": ["weather"]}, {"input": "go"}):
        assert (await _run(http, other, "?runId=r")).status_code == 409, other
    # An envelope that gives nothing is its input.
    assert (await _run(http, {"input": "go"}, "?runId=plain")).status_code == 200
    plain = await http.post("workflow/flow/run?runId=plain", content=b'"go"', headers={"prefer": "wait=10"})
    assert plain.status_code == 200


@pytest.mark.embedded
async def test_deltas_are_streamed_without_an_id_while_the_agent_speaks(host: Host) -> None:
    _, http, client = host
    client.listening.clear()
    client.heard.clear()
    started = await http.post("workflow/flow/run?runId=s", json={"input": "go", "stream": True}, headers=MEDIA)
    assert started.status_code == 202

    said, ids, whole = "", [], ""
    async with http.stream("GET", "workflow/flow/events/s") as events:
        fields: dict[str, str] = {}
        async for line in events.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            event, fields = fields, {}
            client.listening.set()
            if "id" in event:
                ids.append(int(event["id"]))
            if event.get("event") == "delta":
                assert "id" not in event
                shown = json.loads(event["data"])
                assert "id" not in shown
                assert shown["data"]["type"] == "output"
                said += "".join(content.get("text", "") for content in shown["data"]["data"]["contents"])
                client.heard.set()
            elif event.get("event") == "output":
                assert said == "said: [] to the last"
                whole = event["data"]
    assert "said: [] to the last" in whole
    assert ids == list(range(1, len(ids) + 1))

    page = await http.get("workflow/flow/events/s", headers={"accept": "application/json"})
    assert "delta" not in {event["type"] for event in page.json()["events"]}
    status = (await http.get("workflow/flow/status/s")).json()
    assert len(status["output"]) == 1


async def test_the_description_of_the_api_has_the_envelope(host: Host) -> None:
    _, http, _ = host
    content = (await http.get("openapi.json")).json()["paths"]["/workflow/flow/run"]["post"]["requestBody"]["content"]
    schema = content[options.MEDIA_TYPE]["schema"]
    assert schema["required"] == ["input"]
    assert schema["properties"]["input"] == content["application/json"]["schema"]
    assert {"tools", "stream", "client_kwargs", "function_invocation_kwargs"} < set(schema["properties"])
