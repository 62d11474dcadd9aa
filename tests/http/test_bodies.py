"""Bodies that are not what they say: each is refused with the reason, or read as it was meant."""

from __future__ import annotations

import contextlib
import gzip
import pathlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from agent_framework import Agent, Executor, WorkflowBuilder, WorkflowContext, handler, response_handler

from perdure import AgentFunctionApp
from perdure.testing import LocalHost, ScriptedChatClient

DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_MESSAGE = b'{"message": ' + DEEP + b"}"
JSON = {"content-type": "application/json"}


@dataclass
class Order:
    pieces: int


class Desk(Executor):
    @handler
    async def take(self, order: Order, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info("How many?", int, request_id="q1")

    @handler
    async def hear(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(text)

    @response_handler
    async def answered(self, asked: str, answer: int, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(str(answer))


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[httpx.AsyncClient]:
    agent = Agent(client=ScriptedChatClient(lambda messages, options: f"heard {messages[-1].text}"), name="helper")
    flow = WorkflowBuilder(start_executor=Desk(id="desk"), name="flow").build()
    app = AgentFunctionApp(agents=[agent], workflow=flow, app_folder=pathlib.Path(__file__).parents[1])
    async with LocalHost(app, port=0) as host, httpx.AsyncClient(timeout=30) as client:
        client.base_url = f"{host.url}/api/"
        yield client


RUN, SAY, ANSWER = "workflow/flow/run", "agents/helper/run", "workflow/flow/respond/r1/q1"


async def asking(client: httpx.AsyncClient) -> None:
    """Start a run and wait until it asks."""
    await client.post(f"{RUN}?runId=r1", json={"pieces": 1})
    async with client.stream("GET", "workflow/flow/events/r1") as stream:
        async for line in stream.aiter_lines():
            if line == "event: parked":
                return


@pytest.mark.parametrize("path", [RUN, SAY, ANSWER])
@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (DEEP_MESSAGE, JSON, 400, "not valid JSON"),
        (b'{"message": "\xff"}', JSON, 400, "not valid JSON"),
        (b'{"message": ', JSON, 400, "truncated"),
        (gzip.compress(b'{"message": "hi"}', mtime=0), {**JSON, "content-encoding": "gzip"}, 415, "gzip"),
        (b"\xe9", {"content-type": "text/plain"}, 400, "utf-8"),
        (b"hi", {"content-type": "text/plain; charset=no-such"}, 400, "no-such"),
        (b"hi", {"content-type": "text/plain; charset=base64"}, 400, "base64"),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_refused_with_the_reason(
    path: str, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    async with served() as client:
        if path == ANSWER:
            await asking(client)
        answer = await client.post(path, content=body, headers={"accept": "application/json", **headers})
        waiting = (await client.get("workflow/flow/status/r1")).json()

    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert answer.headers["content-type"] == "application/problem+json"
    if path == ANSWER:
        assert [asked["requestId"] for asked in waiting["pendingHumanInputRequests"]] == ["q1"]


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", '"UTF-8"'])
async def test_a_text_is_read_in_the_charset_it_names(charset: str) -> None:
    headers = {"content-type": f"text/plain; charset={charset}", "prefer": "wait=10"}
    async with served() as client:
        body = "caf\u00e9".encode(charset.strip('"'))
        ran = await client.post(RUN, content=body, headers=headers)
        said = await client.post(SAY, content=body, headers=headers)

    assert ran.json()["output"] == ["caf\u00e9"]
    assert said.text == "heard caf\u00e9"


async def test_of_a_member_that_stands_twice_the_last_is_taken() -> None:
    async with served() as client:
        answer = await client.post(SAY, content=b'{"message": "one", "message": "two"}', headers=JSON)

    assert answer.json()["response"] == "heard two"


@pytest.mark.parametrize("request_id", ["q2", "x" * 5000, "a%00b%0d%0a", "%E2%98%83", "desk~0~q1", "%2e%2e%2fq1"])
async def test_an_answer_to_a_request_that_is_not_there_is_404_and_changes_nothing(request_id: str) -> None:
    async with served() as client:
        await asking(client)
        answer = await client.post(f"workflow/flow/respond/r1/{request_id}", json=1)
        right = await client.post(ANSWER, json=1)

    assert answer.status_code == 404 and answer.json()["error"]
    assert len(answer.content) < 1000
    assert right.status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"), [(RUN, "OPTIONS, POST"), (SAY, "OPTIONS, POST"), (ANSWER, "DELETE, OPTIONS, POST")]
)
async def test_head_options_and_other_methods_say_what_is_allowed(path: str, allowed: str) -> None:
    async with served() as client:
        options = await client.options(path)
        others = [await client.request(method, path) for method in ("GET", "HEAD", "PUT", "PATCH")]

    assert options.status_code == 204 and options.headers["allow"] == allowed
    assert [answer.status_code for answer in others] == [405] * 4
    assert all(answer.headers["allow"] == allowed for answer in others)
