"""What a browser page may do to a host that asks for no key, and whose trace a run belongs to."""

from __future__ import annotations

import pathlib
from typing import Any

import httpx
import pytest
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler
from opentelemetry import trace

from perdure import AgentFunctionApp
from perdure.hosts.local import cors
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
