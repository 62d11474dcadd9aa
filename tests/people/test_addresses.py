from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, response_handler
from tests.people import desk

from perdure import WorkflowHitlContext
from perdure.hosts.local import settings

VARIABLES = ("PERDURE_BASE_URL", "WEBSITE_HOSTNAME")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Notifier(Executor):
    """Asks for approval, and mails the address of the answer to whoever reads the shared state."""

    @handler
    async def ask(self, value: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info({"about": value}, bool)
        await ctx.request_info({"about": "another"}, bool, request_id="mine")
        found = WorkflowHitlContext.from_context(ctx)
        if found is None:
            await ctx.yield_output("in process")
            return
        mine = await WorkflowHitlContext.pending_request_id(ctx)
        await ctx.yield_output(f"{found.build_status_url()} {found.build_respond_url(mine or '')}")

    @response_handler
    async def hear(self, asked: dict[str, str], yes: bool, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(str(yes))


def notifying() -> Workflow:
    return WorkflowBuilder(start_executor=Notifier(id="notifier"), name="notify me").build()


async def test_an_executor_learns_the_address_of_its_run_and_of_the_answer_to_its_request() -> None:
    async with desk.hosted(desk.app_of(notifying())) as start:
        at = await start("x")
        await at.parked(1)
        (said,) = await at.happened("output")
        shown, respond = said["data"].split()
        status = (await at.client.get(shown)).json()
        answer = await at.client.post(respond, json=True)

    assert shown.endswith("/api/workflow/notify%20me/status/r")
    assert status["pendingHumanInputRequests"][1]["respondUrl"] == respond
    assert answer.status_code == 200


async def test_in_process_there_is_no_address_and_the_workflow_runs_all_the_same() -> None:
    result = await notifying().run("x")
    assert result.get_outputs() == ["in process"]


async def test_the_route_prefix_and_the_public_name_of_the_host_are_in_the_address() -> None:
    app = desk.app_of(notifying())
    told = settings.Settings(desk.TESTS, desk.TESTS, route_prefix="v1/flows", base_url="https://flows.example.com")
    async with desk.hosted(app, settings=told) as start:
        at = await start("x")
        (said,) = await at.happened("output")

    assert said["data"] == (
        "https://flows.example.com/v1/flows/workflow/notify%20me/status/r "
        "https://flows.example.com/v1/flows/workflow/notify%20me/respond/r/mine"
    )


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ("https://a.example/", {"PERDURE_BASE_URL": "https://b.example"}, "https://a.example"),
        (None, {"PERDURE_BASE_URL": "https://b.example/", "WEBSITE_HOSTNAME": "c"}, "https://b.example"),
        (None, {"WEBSITE_HOSTNAME": "app.azurewebsites.net"}, "https://app.azurewebsites.net"),
        (None, {"WEBSITE_HOSTNAME": "localhost:7071"}, "http://localhost:7071"),
        (None, {"WEBSITE_HOSTNAME": "[::1]:7071"}, "http://[::1]:7071"),
        (None, {"WEBSITE_HOSTNAME": "127.0.0.1:1"}, "http://127.0.0.1:1"),
        (None, {"WEBSITE_HOSTNAME": "http://inside/"}, "http://inside"),
        (None, {}, "http://host:1"),
    ],
)
def test_the_base_url_is_the_most_explicit_one(
    monkeypatch: pytest.MonkeyPatch, given: str | None, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = WorkflowHitlContext("r", "flow", given, host_url="http://host:1")
    assert found.base_url == expected


def test_a_request_of_a_sub_workflow_is_addressed_on_the_run_on_top() -> None:
    found = WorkflowHitlContext("r", "flow", "http://h", "child~0~")
    assert found.build_respond_url("{requestId}") == "http://h/api/workflow/flow/respond/r/child~0~{requestId}"


def test_without_any_address_it_says_what_to_set() -> None:
    with pytest.raises(RuntimeError, match="PERDURE_BASE_URL"):
        WorkflowHitlContext("r", "flow").build_status_url()


@pytest.mark.parametrize("ctx", [None, object()])
async def test_what_is_no_context_has_no_address(ctx: Any) -> None:
    assert WorkflowHitlContext.from_context(ctx) is None
    assert await WorkflowHitlContext.pending_request_id(ctx) is None
