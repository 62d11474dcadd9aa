from __future__ import annotations

import logging

import pytest

from .conftest import Serve, Served

BESIDE = """
# mypy: ignore-errors
import azure.functions as func
from agent_framework import WorkflowBuilder, WorkflowContext, executor

from perdure import AgentFunctionApp


@executor(id="shout")
async def shout(text: str, context: WorkflowContext[None, str]) -> None:
    await context.yield_output(text.upper())


app = AgentFunctionApp(
    workflow=WorkflowBuilder(name="shouting", start_executor=shout).build(), http_auth_level=func.AuthLevel.ANONYMOUS
)


@app.route(route="{*rest}")
def everything(req: func.HttpRequest) -> str:
    return f"all of {req.route_params.get('rest')}"


@app.route(route="health")
def own_health(req: func.HttpRequest) -> str:
    return "my own"


@app.route(route="{kind:alpha}/{number:int}", methods=["GET"])
async def typed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(dict(req.route_params)), mimetype="text/html")


@app.orchestration_trigger(context_name="context")
def beside(context):
    return (yield context.call_activity("twice", 4))


@app.activity_trigger(input_name="number")
def twice(number: int) -> int:
    return number * 2


@app.queue_trigger(arg_name="message", queue_name="q", connection="c")
def queued(message: func.QueueMessage) -> None:
    pass
"""


@pytest.fixture
async def served(serve: Serve) -> Served:
    hosted: Served = await serve("language")
    return hosted


async def test_a_request_reaches_its_function_whole(served: Served) -> None:
    reply = await served.ask("PUT", "/api/plain/a%20b?q=1&q=2", content="body", headers={"X-One": "1"})

    assert (reply.status_code, reply.headers["x-two"], reply.text) == (201, "2", "PUT a b 1,2 1 body")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_parameter_may_be_left_out(served: Served) -> None:
    assert (await served.ask("GET", "/api/plain")).text == "GET None None None "


async def test_other_methods_are_405(served: Served) -> None:
    reply = await served.ask("POST", "/api/plain/x", content="")

    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, PUT")


async def test_a_function_that_raises_is_500_and_the_log_has_its_frames(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "perdure.functions"):
        reply = await served.ask("GET", "/api/broken")

    assert (reply.status_code, reply.text) == (500, "")
    assert "RuntimeError: a secret" in caplog.text
    assert "language.py" in caplog.text
    assert "site-packages" not in caplog.text


async def test_a_route_without_parameters_goes_before_the_hosts_own(served: Served) -> None:
    assert (await served.ask("GET", "/api/runs")).text == "mine"


async def test_functions_and_workflows_are_served_by_one_app(serve: Serve) -> None:
    served: Served = await serve(BESIDE)

    run = await served.ask("POST", "/api/workflow/shouting/run?waitForResponse=true", content='"hello"')
    assert run.json()["output"] == ["HELLO"]
    assert await served.output("beside") == 8
    assert (await served.ask("GET", "/api/health")).text == "my own"
    assert (await served.ask("GET", "/api/workflows")).json(), "the host's own go before parameters"
    assert (await served.ask("GET", "/api/some/thing/else")).text == "all of some/thing/else"
    typed = await served.ask("GET", "/api/room/12")
    assert (typed.text, typed.headers["content-type"]) == (
        "{'kind': 'room', 'number': '12'}",
        "text/html; charset=utf-8",
    )
    assert (await served.ask("GET", "/api/room/x")).text == "all of room/x"


async def test_runs_are_instances_to_the_management_api_and_instances_are_no_runs(serve: Serve) -> None:
    served: Served = await serve(BESIDE)
    await served.ask("POST", "/api/workflow/shouting/run?runId=w&waitForResponse=true", content='"hello"')
    await served.start("beside", instance_id="f")
    await served.ended("f")

    assert (await served.status("w"))["output"] == ["HELLO"]
    assert (await served.ask("GET", "/api/workflow/shouting/status/f")).status_code == 404
    listed = (await served.ask("GET", "/runtime/webhooks/durabletask/instances")).json()
    assert {each["instanceId"] for each in listed} == {"f", "w"}
    runs = (await served.ask("GET", "/api/runs")).json()
    assert [each["instanceId"] for each in runs["runs"]] == ["w"]


async def test_an_app_without_functions_has_no_management_api(serve: Serve) -> None:
    served: Served = await serve(BESIDE[: BESIDE.index("@app.route")])

    assert (await served.ask("GET", "/runtime/webhooks/durabletask/instances")).status_code == 404
    assert (await served.ask("GET", "/api/health")).json()["status"] == "healthy"
