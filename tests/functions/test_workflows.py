"""Hosted workflows are orchestrations to hand-written code: started, answered, looked at and called by it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests import polling

ROOT = "/runtime/webhooks/durabletask"


async def parked(app: Any, run: str) -> None:
    """Wait until a run is there and waits for an answer."""
    await polling.until(lambda: app.host.engine.view(run), lambda view: view is not None)
    async for event in app.host.runs.follow(run):
        if event.type == "parked":
            return
    raise AssertionError("it ended")


@pytest.mark.embedded
async def test_the_official_client_starts_a_workflow_and_sees_its_outputs(serve: Any) -> None:
    app = await serve("beside")
    run = (await app.ask("POST", "/api/start/dafx-order", json={"pieces": 2})).text
    await app.host.engine.wait(run, 30)
    shown = (await app.ask("GET", f"/api/look/{run}")).json()

    assert (shown["name"], shown["runtimeStatus"]) == ("dafx-order", "Completed")
    assert shown["output"] == ["piece 0", "piece 1"]
    assert shown["all"] == [run]
    status = (await app.ask("GET", f"/api/workflow/order/status/{run}")).json()
    assert status["output"] == ["piece 0", "piece 1"]


@pytest.mark.embedded
async def test_the_official_client_answers_a_request_by_an_event_of_its_id(serve: Any) -> None:
    app = await serve("beside")
    await app.ask("POST", "/api/start/dafx-approval/r1", json="draft")
    await parked(app, "r1")
    waiting = (await app.ask("GET", "/api/look/r1")).json()
    wrong = await app.ask("POST", "/api/answer/r1/approval", json="perhaps")
    unknown = await app.ask("POST", "/api/answer/r1/other", json=True)
    right = await app.ask("POST", "/api/answer/r1/approval", json=True)
    ended = await app.ended("r1")

    assert waiting["customStatus"]["state"] == "waiting_for_human_input"
    assert [wrong.status_code, unknown.status_code, right.status_code] == [409, 409, 200]
    assert ended["output"] == ["draft: True"]


@pytest.mark.embedded
async def test_an_event_that_is_no_answer_is_refused_with_the_reason(serve: Any) -> None:
    app = await serve("beside")
    await app.ask("POST", "/api/start/dafx-approval/r1", json="draft")
    await parked(app, "r1")
    wrong = await app.ask("POST", f"{ROOT}/instances/r1/raiseEvent/approval", json="perhaps")
    unknown = await app.ask("POST", f"{ROOT}/instances/r1/raiseEvent/other", json=True)
    held = await app.ask("POST", f"{ROOT}/instances/r1/suspend")
    again = await app.ask("POST", f"{ROOT}/instances/r1/restart")

    assert [answer.status_code for answer in (wrong, unknown, held, again)] == [400] * 4
    assert "bool" in wrong.json()["ExceptionMessage"]
    assert "no request 'other'" in unknown.json()["ExceptionMessage"]
    assert "cannot be suspended" in held.json()["Message"]


async def test_the_official_client_ends_a_run_of_a_workflow(serve: Any) -> None:
    app = await serve("beside")
    await app.ask("POST", "/api/start/dafx-approval/r1", json="draft")
    await parked(app, "r1")
    await app.ask("POST", "/api/end/r1")
    await app.host.engine.wait("r1", 30)
    status = (await app.ask("GET", "/api/workflow/approval/status/r1")).json()

    assert status["runtimeStatus"] == "Terminated"
    assert "no longer wanted" in status["error"]


@pytest.mark.embedded
async def test_a_start_under_the_id_of_a_living_run_is_refused_and_of_an_ended_one_takes_its_place(serve: Any) -> None:
    app = await serve("beside")
    assert (await app.ask("POST", "/api/start/dafx-approval/r1", json="draft")).text == "r1"
    await parked(app, "r1")
    refused = await app.ask("POST", f"{ROOT}/orchestrators/dafx-approval/r1", json="draft")
    await app.ask("POST", "/api/answer/r1/approval", json=True)
    await app.ended("r1")
    taken = await app.ask("POST", f"{ROOT}/orchestrators/dafx-order/r1", json={"pieces": 1})

    assert (refused.status_code, taken.status_code) == (409, 202)
    assert (await app.ended("r1"))["output"] == ["piece 0"]


@pytest.mark.embedded
@pytest.mark.parametrize(("value", "said"), [({"pieces": "two"}, "/pieces"), (None, "null")])
async def test_a_start_with_what_the_workflow_does_not_take_is_refused(serve: Any, value: Any, said: str) -> None:
    app = await serve("beside")
    refused = await app.ask("POST", f"{ROOT}/orchestrators/dafx-order", json=value)

    assert refused.status_code == 400
    assert said in refused.json()["ExceptionMessage"]


@pytest.mark.embedded
@pytest.mark.parametrize("body", [b"[" * 100_000, b'"\xff"', b'{"pieces":'])
@pytest.mark.parametrize(
    "path", ["orchestrators/dafx-order", "orchestrators/batch", "instances/r1/raiseEvent/approval"]
)
async def test_what_is_no_json_is_refused_by_the_management_api(serve: Any, path: str, body: bytes) -> None:
    app = await serve("beside")
    await app.ask("POST", "/api/start/dafx-approval/r1", json="draft")
    refused = await app.ask("POST", f"{ROOT}/{path}", content=body, headers={"content-type": "application/json"})

    assert refused.status_code == 400
    assert refused.json()["Message"] == "Invalid JSON content"


async def test_an_orchestrator_calls_workflows_as_sub_orchestrations(serve: Any) -> None:
    app = await serve("beside")

    assert await app.output("batch", json.dumps([{"pieces": 1}, {"pieces": 2}])) == [
        ["piece 0"],
        ["piece 0", "piece 1"],
    ]


async def test_a_workflow_that_was_called_waits_for_a_person_also_through_a_crash(serve: Any) -> None:
    app = await serve("beside")
    outer = await app.start("approved", json.dumps("draft"))
    await app.until(
        outer, lambda seen: any(b"SubOrchestration" in event.data or b"the-approval" in event.data for event in seen)
    )
    await parked(app, "the-approval")
    await app.crash()
    answered = await app.ask("POST", "/api/workflow/approval/respond/the-approval/approval", json=False)

    assert answered.status_code == 200
    assert (await app.ended(outer))["output"] == ["draft: False"]


@pytest.mark.embedded
async def test_a_workflow_that_is_called_under_the_id_of_another_living_run_fails(serve: Any) -> None:
    app = await serve("beside")
    await app.ask("POST", "/api/start/dafx-approval/the-approval", json="another draft")
    await parked(app, "the-approval")
    ended = await app.ended(await app.start("approved", json.dumps("draft")))

    assert ended["runtimeStatus"] == "Failed"
    assert "'the-approval' exists with another input" in ended["output"]


async def test_a_workflow_that_fails_fails_its_caller_with_the_reason_after_its_retries(serve: Any) -> None:
    app = await serve("beside")
    ended = await app.ended(await app.start("stubborn", {"pieces": -1}))

    assert ended["runtimeStatus"] == "Failed"
    assert "less than nothing" in ended["output"]
