from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from agent_framework import (
    Executor,
    FunctionalWorkflow,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    executor,
    handler,
    response_handler,
    step,
    workflow,
)

from perdure import AgentFunctionApp, testing


class Counter(Executor):
    """Counts its calls in an attribute, and asks before it tells."""

    def __init__(self, name: str) -> None:
        super().__init__(id="counter")
        self.name = name
        self.calls = 0

    @handler
    async def take(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        self.calls += 1
        await ctx.request_info(f"{self.name}?", str)

    @response_handler
    async def hear(self, asked: str, said: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"{self.name} {self.calls} {said}")


def counting(name: str) -> Workflow:
    return WorkflowBuilder(start_executor=Counter(name), name=name).build()


@step
async def shout(text: str) -> str:
    return text.upper()


@workflow(name="Shouting")
async def shouting(text: str) -> str:
    return await shout(text)


@executor(id="loud")
async def loud(text: str, ctx: WorkflowContext[str, str]) -> None:
    await ctx.yield_output(text.upper())


class Factory:
    """A factory that is an object, and a method of it that is one too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.built = 0

    def __call__(self) -> Workflow:
        return self.build()

    def build(self) -> Workflow:
        self.built += 1
        return counting(self.name)


@asynccontextmanager
async def serve(app: AgentFunctionApp) -> AsyncIterator[tuple[testing.LocalHost, httpx.AsyncClient]]:
    async with testing.LocalHost(app, port=0) as host, httpx.AsyncClient(timeout=20, trust_env=False) as client:
        yield host, client


async def parked(host: testing.LocalHost, run: str) -> None:
    async for event in host.runs.follow(run):
        if event.type == "parked":
            return
    raise AssertionError(f"{run} ended")


async def through(host: testing.LocalHost, client: httpx.AsyncClient, name: str, run: str, said: str) -> Any:
    """Start a run, answer what it asks, and give its output."""
    url = f"{host.url}/api/workflow/{name}"
    started = await client.post(f"{url}/run", params={"runId": run}, json="go")
    assert started.status_code == 202, started.text
    await parked(host, run)
    (asked,) = (await client.get(f"{url}/status/{run}")).json()["pendingHumanInputRequests"]
    assert (await client.post(asked["respondUrl"], json=said)).status_code == 200
    ended = await host.runs.wait(run, 20)
    assert ended is not None and ended.status == "Completed", ended
    return ended.output


async def test_several_workflows_of_both_forms_each_have_their_own_routes() -> None:
    app = AgentFunctionApp(workflows=[counting("First"), counting("second"), shouting])
    async with serve(app) as (host, client):
        outputs = [await through(host, client, name, f"run-{name}", "yes") for name in ("First", "second")]
        url = f"{host.url}/api/workflow"
        shouted = await client.post(f"{url}/SHOUTING/run", json="hello", headers={"Prefer": "wait=10"})
        other_case = await client.get(f"{url}/first/status/run-First")
        foreign = [
            await client.get(f"{url}/second/status/run-First"),
            await client.post(f"{url}/second/respond/run-First/x", json="yes"),
            await client.get(f"{url}/second/events/run-First", headers={"accept": "application/json"}),
        ]
        nameless = await client.post(f"{url}/run", json="go")
        listed = (await client.get(f"{host.url}/api/workflows")).json()

    assert outputs == [["First 1 yes"], ["second 1 yes"]]
    assert shouted.json()["output"] == ["HELLO"]
    assert other_case.status_code == 200
    assert [answer.status_code for answer in foreign] == [404, 404, 404]
    assert nameless.status_code == 404
    assert {item["name"] for item in listed["workflows"]} == {"First", "second", "Shouting"}


def test_names_of_both_forms_clash_in_any_case() -> None:
    with pytest.raises(ValueError, match="'Shouting' and 'shouting', which are the same in any case"):
        AgentFunctionApp(workflows=[shouting, counting("shouting")])


def test_a_function_is_given_back_as_one() -> None:
    app = AgentFunctionApp(workflow=shouting)
    assert isinstance(app.workflow, FunctionalWorkflow) and app.workflows == {"Shouting": app.workflow}


FACTORIES: dict[str, Callable[[], Any]] = {
    "function": lambda: lambda: counting("made"),
    "partial": lambda: functools.partial(counting, "made"),
    "object": lambda: Factory("made"),
    "method": lambda: Factory("made").build,
}


@pytest.mark.parametrize("kind", FACTORIES)
async def test_a_factory_of_any_kind_is_called_for_each_run_and_runs_share_nothing(kind: str) -> None:
    async with serve(AgentFunctionApp(workflows=[FACTORIES[kind](), counting("beside")])) as (host, client):
        outputs = [await through(host, client, "made", f"run-{number}", str(number)) for number in range(3)]
        await host.crash()
        await host.restart()
        outputs.append(await through(host, client, "made", "run-3", "3"))

    assert outputs == [[f"made 1 {number}"] for number in range(4)]


@pytest.mark.parametrize(
    "build", [lambda: shouting, lambda: WorkflowBuilder(start_executor=loud, name="Shouting").build()]
)
async def test_a_factory_is_called_once_for_a_run_that_does_not_wait(build: Callable[[], Any]) -> None:
    built: list[Any] = []

    def factory() -> Any:
        built.append(build())
        return built[-1]

    async with serve(AgentFunctionApp(workflow=factory)) as (host, client):
        before = len(built)
        for text in ("one", "two"):
            url = f"{host.url}/api/workflow/Shouting/run"
            answer = await client.post(url, json=text, headers={"Prefer": "wait=10"})
            assert answer.json()["output"] == [text.upper()]

    assert len(built) - before == 2
