"""What a browser page may do to a host that asks for no key, and whose trace a run belongs to."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import httpx
import pytest
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler
from opentelemetry import trace

from perdure import AgentFunctionApp
from perdure.hosts.local import cors, settings
from perdure.hosts.local import host as local

FOREIGN = "https://evil.example.com"


async def test_a_page_of_another_site_cannot_start_a_run(serve: Any) -> None:
    world = await serve("echo")
    answer = await world.client.post("workflow/echo/run", content="hi", headers={"origin": FOREIGN})
    assert answer.status_code == 403
    assert FOREIGN in answer.json()["error"]
    listed = await world.client.get("runs")
    assert listed.json()["runs"] == []


async def test_a_page_of_the_host_itself_can(serve: Any) -> None:
    world = await serve("echo")
    own = str(httpx.URL(world.url).copy_with(path="/")).rstrip("/")
    answer = await world.client.post("workflow/echo/run", content="hi", headers={"origin": own})
    assert answer.status_code == 202


@pytest.mark.parametrize("origins", [(FOREIGN,), ("*",)])
async def test_a_page_of_an_allowed_site_can(serve: Any, origins: tuple[str, ...]) -> None:
    world = await serve("echo", allowed=cors.Cors(origins))
    answer = await world.client.post("workflow/echo/run", content="hi", headers={"origin": FOREIGN})
    assert answer.status_code == 202


def echo() -> AgentFunctionApp:
    return AgentFunctionApp(workflow=WorkflowBuilder(start_executor=Tracing(id="tracing")).build())


REBOUND = {"host": "evil.example:7071", "origin": "http://evil.example:7071"}
"""What a browser sends for a page whose own name was made to point at this machine."""


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/workflow/run"),
        ("OPTIONS", "/api/workflow/run"),
        ("GET", "/api/runs"),
        ("HEAD", "/api/runs"),
        ("GET", "/api/docs"),
        ("GET", "/api/health"),
        ("GET", "/"),
    ],
)
async def test_a_page_whose_name_was_made_to_point_here_reads_and_starts_nothing(method: str, path: str) -> None:
    async with local.LocalHost(echo(), port=0) as host, httpx.AsyncClient() as client:
        answer = await client.request(method, f"{host.url}{path}", headers=REBOUND)
        listed = await client.get(f"{host.url}/api/runs")
    assert answer.status_code == 421
    assert method == "HEAD" or "PERDURE_ALLOWED_HOSTS" in answer.json()["error"]
    assert listed.json()["runs"] == []


@pytest.mark.parametrize(
    "name", ["localhost:7071", "app.localhost", "10.1.2.3", "hub.example", "flows.example", "a.b.c"]
)
async def test_whoever_asks_by_a_name_of_the_host_is_answered(tmp_path: pathlib.Path, name: str) -> None:
    told = settings.Settings(
        tmp_path, tmp_path / "hub", base_url="https://hub.example", allowed_hosts=("flows.example", ".b.c")
    )
    async with local.LocalHost(echo(), settings=told, port=0) as host, httpx.AsyncClient() as client:
        answer = await client.get(f"{host.url}/api/runs", headers={"host": name})
    assert answer.status_code == 200


async def test_a_host_for_the_network_is_reached_by_whatever_name_the_machine_has_there() -> None:
    async with local.LocalHost(echo(), host="0.0.0.0", port=0) as host, httpx.AsyncClient() as client:
        answer = await client.get(f"{host.url}/api/runs", headers={"host": "my-machine.lan:7071"})
    assert answer.status_code == 200


async def test_who_says_no_name_is_answered() -> None:
    """As the health checks of some balancers do: a browser always says one."""
    async with local.LocalHost(echo(), port=0) as host:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(host.url or "").port)
        writer.write(b"GET /api/health HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"


class Tracing(Executor):
    @handler
    async def take(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(format(trace.get_current_span().get_span_context().trace_id, "032x"))


async def test_a_run_belongs_to_the_trace_of_the_request_that_started_it(tmp_path: pathlib.Path) -> None:
    app = AgentFunctionApp(workflow=WorkflowBuilder(start_executor=Tracing(id="tracing")).build())
    wanted = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{wanted}-00f067aa0ba902b7-01", "prefer": "wait=10"}
    async with local.LocalHost(app, hub=tmp_path, port=0) as host, httpx.AsyncClient() as client:
        answer = await client.post(f"{host.url}/api/workflow/run", content="hi", headers=headers)
    assert answer.json()["output"] == [wanted]
