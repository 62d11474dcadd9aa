from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from perdure.payloads import refs
from perdure.routes import workflows


async def test_a_start_answers_202_with_links_that_lead_to_the_output(world: Any) -> None:
    answer = await world.client.post("workflow/echo/run", content="hello")

    assert answer.status_code == 202
    started = answer.json()
    assert started["message"] == "Workflow started"
    run_id = started["instanceId"]
    assert started["statusQueryGetUri"] == f"{world.url}/api/workflow/echo/status/{run_id}"
    assert started["respondUri"] == f"{world.url}/api/workflow/echo/respond/{run_id}/{{requestId}}"
    assert answer.headers["location"] == started["statusQueryGetUri"]
    await world.runs.wait(run_id, 5)
    status = (await world.client.get(started["statusQueryGetUri"])).json()
    assert status["runtimeStatus"] == "Completed"
    assert status["output"] == ["hello"]


async def test_a_status_shows_every_member(world: Any) -> None:
    await world.start("gated")

    status = (await world.client.get("workflow/gated/status/r1")).json()

    assert list(status) == [
        "instanceId", "runtimeStatus", "customStatus", "output", "error", "createdTime", "lastUpdatedTime",
    ]  # fmt: skip
    assert status["instanceId"] == "r1"
    assert status["runtimeStatus"] == "Running"
    assert status["output"] is None and status["error"] is None
    assert status["createdTime"].endswith("Z") and "T" in status["createdTime"]


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Prefer": "wait=10"}, {}),
        ({"prefer": "respond-async, wait=10; x"}, {}),
        ({"x-ms-wait-for-response": "true"}, {}),
        ({}, {"waitForResponse": "true"}),
        ({}, {"waitForResponse": "1", "timeoutSeconds": "200"}),
    ],
)
async def test_who_waits_gets_the_output(world: Any, headers: dict[str, str], query: dict[str, str]) -> None:
    answer = await world.client.post("workflow/echo/run", content="hi", headers=headers, params=query)

    assert answer.status_code == 200
    assert answer.json() == {
        "instanceId": answer.json()["instanceId"], "runtimeStatus": "Completed", "output": ["hi"],
    }  # fmt: skip
    assert answer.headers.get("preference-applied") == ("wait=10" if headers.keys() & {"Prefer", "prefer"} else None)


async def test_who_waits_for_a_failing_run_gets_200_with_the_error(world: Any) -> None:
    answer = await world.client.post("workflow/failing/run", content="hi", headers={"Prefer": "wait=10"})

    assert answer.status_code == 200
    assert answer.json()["runtimeStatus"] == "Failed"
    assert answer.json()["error"] == "ValueError: no such customer"
    assert answer.json()["output"] is None


async def test_a_wait_that_runs_out_answers_202(world: Any) -> None:
    answer = await world.client.post("workflow/gated/run", content="hi", headers={"Prefer": "wait=1"})

    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"


async def test_the_header_decides_over_the_query(world: Any) -> None:
    answer = await world.client.post(
        "workflow/gated/run?waitForResponse=true&timeoutSeconds=200",
        content="hi",
        headers={"x-ms-wait-for-response": "false"},
    )

    assert answer.status_code == 202


@pytest.mark.parametrize(("query", "status"), [("", 202), ("?waitForResponse=true", 200)])
async def test_a_header_that_says_neither_leaves_it_to_the_query(world: Any, query: str, status: int) -> None:
    answer = await world.client.post(
        f"workflow/echo/run{query}", content="hi", headers={"x-ms-wait-for-response": "perhaps"}
    )

    assert answer.status_code == status


@pytest.mark.parametrize("wait", ["wait=", "wait=-1", "wait=soon", "wait=1.5", "waits=3", "handling=strict"])
async def test_a_preference_that_cannot_be_understood_is_ignored(world: Any, wait: str) -> None:
    answer = await world.client.post("workflow/gated/run", content="hi", headers={"Prefer": wait})

    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


async def test_a_sole_workflow_needs_no_name(serve: Any) -> None:
    world = await serve("echo")

    answer = await world.client.post("workflow/run", json="hello", headers={"Prefer": "wait=10"})

    assert answer.json()["output"] == ["hello"]


async def test_several_workflows_need_a_name(world: Any) -> None:
    answer = await world.client.post("workflow/run", content="hello")

    assert answer.status_code == 404
    assert "echo, failing, gated, order" in answer.json()["error"]


async def test_names_are_matched_in_any_case(world: Any) -> None:
    answer = await world.client.post("Workflow/ECHO/Run?runId=A", content="hi", headers={"Prefer": "wait=10"})

    assert answer.status_code == 200
    assert (await world.client.get("workflow/Echo/status/A")).status_code == 200
    assert (await world.client.get("workflow/Echo/status/a")).status_code == 404


async def test_a_workflow_name_of_any_letters_is_addressed_percent_encoded(serve: Any) -> None:
    world = await serve("naïve mail / v2")

    answer = await world.client.post("workflow/na%C3%AFve%20mail%20%2F%20v2/run", content="hi")

    assert answer.status_code == 202
    assert (await world.client.get(answer.json()["statusQueryGetUri"])).status_code == 200


@pytest.mark.parametrize("run_id", ["a", "x" * 100, "mail:2031-05-04", "ünï ☃ %41&=+", "a@b", "...", ".a"])
async def test_a_run_id_of_ones_own_is_kept(world: Any, run_id: str) -> None:
    answer = await world.client.post("workflow/echo/run", params={"runId": run_id}, content="hi")

    assert answer.status_code == 202
    assert answer.json()["instanceId"] == run_id
    status = await world.client.get(answer.json()["statusQueryGetUri"])
    assert status.json()["instanceId"] == run_id


@pytest.mark.parametrize(
    "run_id",
    ["", "x" * 101, "@a", "session.1@dafx-a@b", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x7fb", "a\x00", ".", ".."],
)
async def test_a_bad_run_id_is_refused(world: Any, run_id: str) -> None:
    answer = await world.client.post("workflow/echo/run", params={"runId": run_id}, content="hi")

    assert answer.status_code == 400
    assert "runId" in answer.json()["error"]


async def test_the_same_start_again_answers_with_the_run_there_is(world: Any) -> None:
    await world.start(run_id="r1", body="hi")
    answer = await world.client.post("workflow/echo/run?runId=r1", content="hi", headers={"Prefer": "wait=5"})

    assert answer.status_code == 200
    assert answer.json()["output"] == ["hi"]
    assert len((await world.client.get("runs")).json()["runs"]) == 1


async def test_the_same_start_again_with_a_stored_input_is_recognised(world: Any) -> None:
    body = "x" * 5000
    assert (await world.start(run_id="r1", body=body)).status_code == 202
    assert (await world.start(run_id="r1", body=body)).status_code == 202
    assert (await world.start(run_id="r1", body=body + "y")).status_code == 409


async def test_a_used_run_id_with_another_body_is_a_conflict(world: Any) -> None:
    await world.start(run_id="r1", body="hi")

    assert (await world.start(run_id="r1", body="ho")).status_code == 409
    assert (await world.start("failing", run_id="r1", body="hi")).status_code == 409


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        ("workflow/echo/run?waitForResponse=maybe", {}, "waitForResponse"),
        ("workflow/echo/run?waitForResponse=", {}, "waitForResponse"),
        ("workflow/echo/run?waitForResponse=maybe", {"x-ms-wait-for-response": "perhaps"}, "waitForResponse"),
        ("workflow/echo/run?timeoutSeconds=0", {}, "timeoutSeconds"),
        ("workflow/echo/run?timeoutSeconds=201", {}, "timeoutSeconds"),
        ("workflow/echo/run?timeoutSeconds=nan", {}, "timeoutSeconds"),
        ("workflow/echo/run?timeoutSeconds=soon", {}, "timeoutSeconds"),
    ],
)
async def test_a_bad_wait_is_refused(world: Any, path: str, headers: dict[str, str], said: str) -> None:
    answer = await world.client.post(path, content="hi", headers=headers)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["error"]
    assert (await world.client.get("runs")).json()["runs"] == []


@pytest.mark.parametrize("body", [b"", b"null"])
async def test_an_empty_body_is_refused(world: Any, body: bytes) -> None:
    answer = await world.client.post("workflow/echo/run", content=body)

    assert answer.status_code == 400
    assert "empty" in answer.json()["error"]


async def test_a_body_that_does_not_fit_is_refused_with_pointers(world: Any) -> None:
    answer = await world.client.post("workflow/order/run", json={"number": "three", "name": "x"})

    assert answer.status_code == 400
    problem = answer.json()
    assert problem["status"] == 400 and problem["title"] == "Bad Request"
    assert problem["detail"] == problem["error"]
    assert problem["errors"][0]["pointer"] == "/number"


async def test_a_large_body_is_accepted_in_a_thread(world: Any) -> None:
    size = workflows.ACCEPT_IN_THREAD_BYTES + 1
    answer = await world.client.post("workflow/echo/run", content="x" * size, headers={"Prefer": "wait=5"})

    assert answer.json()["output"] == [size]


async def test_an_unknown_workflow_is_404_and_names_the_known_ones(world: Any) -> None:
    for method, path in [("POST", "workflow/nope/run"), ("GET", "workflow/nope"), ("GET", "workflow/nope/status/x")]:
        answer = await world.client.request(method, path, content="x" if method == "POST" else None)
        assert answer.status_code == 404
        assert "echo" in answer.json()["error"]


async def test_a_run_of_another_workflow_is_404(world: Any) -> None:
    await world.start("echo")

    assert (await world.client.get("workflow/failing/status/r1")).status_code == 404
    assert (await world.client.get("workflow/echo/status/r2")).status_code == 404


async def test_the_graph_is_shown(world: Any) -> None:
    shown = (await world.client.get("workflow/order")).json()

    assert shown["start"] == "first"
    assert shown["inputSchema"]["$ref"] == "#/$defs/Order"
    assert shown["mermaid"].startswith("flowchart")


async def test_the_workflows_are_listed_with_where_they_are(world: Any) -> None:
    listed = (await world.client.get("workflows")).json()["workflows"]

    assert [item["name"] for item in listed] == ["echo", "failing", "gated", "order"]
    assert listed[0]["runUri"] == f"{world.url}/api/workflow/echo/run"
    assert (await world.client.get(listed[0]["graphUri"])).json()["name"] == "echo"


async def test_a_client_that_leaves_stops_its_wait_but_not_its_run(serve: Any) -> None:
    left = asyncio.Event()
    waiting = asyncio.Event()

    class Watched:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def wait(self, run_id: str, seconds: float) -> Any:
            waiting.set()
            try:
                return await self.inner.wait(run_id, seconds)
            except asyncio.CancelledError:
                left.set()
                raise

    world = await serve(around=Watched)
    asking = asyncio.create_task(
        world.client.post("workflow/gated/run?runId=r1", content="hi", headers={"Prefer": "wait=60"})
    )
    await asyncio.wait_for(waiting.wait(), 5)
    asking.cancel()
    await asyncio.wait_for(left.wait(), 5)

    world.gate.set()
    run = await world.runs.wait("r1", 5)
    assert run.status == "Completed"


async def test_a_store_that_fails_is_503_and_nothing_is_started(serve: Any) -> None:
    from perdure import errors

    class Full:
        async def start(self, workflow: str, run_id: str, value: refs.Ref, blobs: Any = (), **_: Any) -> Any:
            raise errors.HubError("The disk is full.", "Free some space.")

    world = await serve(around=lambda _: Full())
    answer = await world.client.post("workflow/echo/run", content="hi")

    assert answer.status_code == 503
    assert "disk is full" in answer.json()["error"]


async def test_a_fault_of_the_host_is_500_without_its_insides(serve: Any) -> None:
    class Broken:
        async def get(self, run_id: str) -> Any:
            raise RuntimeError("secret")

    world = await serve(around=lambda _: Broken())
    answer = await world.client.get("workflow/echo/status/x")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_many_clients_at_once_each_get_their_own_answer(world: Any) -> None:
    async def one(number: int) -> str:
        answer: httpx.Response = await world.client.post(
            "workflow/echo/run", content=f"n{number}", headers={"Prefer": "wait=20"}
        )
        return str(answer.json()["output"][0])

    assert await asyncio.gather(*(one(number) for number in range(64))) == [f"n{number}" for number in range(64)]
