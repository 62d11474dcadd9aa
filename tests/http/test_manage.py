from __future__ import annotations

from concurrent import futures
from typing import Any

import httpx
import pytest


async def _ended(world: Any, *run_ids: str) -> None:
    for run_id in run_ids:
        assert (await world.runs.wait(run_id, 5)).status in ("Completed", "Failed", "Terminated")


async def test_runs_are_listed_newest_first_with_links(world: Any) -> None:
    for run_id in ("a", "b", "c"):
        await world.start("echo", run_id)
    await _ended(world, "a", "b", "c")

    listed = (await world.client.get("runs")).json()

    assert [run["instanceId"] for run in listed["runs"]] == ["c", "b", "a"]
    assert listed["cursor"] is None
    assert listed["runs"][0]["workflow"] == "echo"
    assert (await world.client.get(listed["runs"][0]["statusQueryGetUri"])).json()["instanceId"] == "c"


async def test_runs_are_filtered(world: Any) -> None:
    await world.start("echo", "order-1")
    await world.start("failing", "order-2")
    await world.start("gated", "mail-1")
    await _ended(world, "order-1", "order-2")

    async def ids(**query: str) -> list[str]:
        answer = await world.client.get("runs", params=query)
        assert answer.status_code == 200, answer.text
        return sorted(run["instanceId"] for run in answer.json()["runs"])

    assert await ids(status="failed") == ["order-2"]
    assert await ids(status="Completed, Failed") == ["order-1", "order-2"]
    assert await ids(workflow="ECHO") == ["order-1"]
    assert await ids(workflow="gone") == []
    assert await ids(prefix="order-") == ["order-1", "order-2"]
    assert await ids(createdFrom="2001-01-01T00:00:00Z") == ["mail-1", "order-1", "order-2"]
    assert await ids(createdTo="2001-01-01") == []
    assert await ids(createdFrom="2999-01-01T00:00:00+02:00") == []


async def test_pages_give_every_run_once(world: Any) -> None:
    for number in range(5):
        await world.start("echo", f"r{number}")
    seen: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while True:
        page = (await world.client.get("runs", params=query)).json()
        seen += [run["instanceId"] for run in page["runs"]]
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]

    assert seen == ["r4", "r3", "r2", "r1", "r0"]


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        ({"status": "Done"}, "Pending, Running, Completed, Failed, Terminated, Suspended"),
        ({"status": ""}, "Pending"),
        ({"limit": "0"}, "1 to 1000"),
        ({"limit": "1001"}, "1 to 1000"),
        ({"limit": "many"}, "1 to 1000"),
        ({"limit": "²"}, "1 to 1000"),
        ({"createdFrom": "yesterday"}, "ISO 8601"),
        ({"createdTo": "2031-13-01"}, "ISO 8601"),
        ({"cursor": "made up"}, "cursor of the page before"),
    ],
)
async def test_a_filter_that_is_not_allowed_says_what_is(world: Any, query: dict[str, str], allowed: str) -> None:
    answer = await world.client.get("runs", params=query)

    assert answer.status_code == 400
    assert allowed in answer.json()["error"]
    assert next(iter(query)) in answer.json()["error"]


async def test_a_cancelled_run_is_terminated_and_stays_so(world: Any) -> None:
    await world.start("gated", "r1")

    answer = await world.client.post("runs/r1/cancel", json={"reason": "not needed"})

    assert answer.status_code == 200
    assert answer.json()["runtimeStatus"] == "Terminated"
    assert "not needed" in answer.json()["error"]
    again = await world.client.post("runs/r1/cancel")
    assert again.status_code == 200
    assert "not needed" in again.json()["error"]


async def test_an_ended_run_cannot_be_cancelled(world: Any) -> None:
    await world.start("echo", "r1")
    await _ended(world, "r1")

    answer = await world.client.post("runs/r1/cancel")

    assert answer.status_code == 409
    assert "Completed" in answer.json()["error"]


async def test_an_unknown_run_can_be_neither_cancelled_nor_deleted(world: Any) -> None:
    assert (await world.client.post("runs/nope/cancel")).status_code == 404
    assert (await world.client.delete("runs/nope")).status_code == 404


@pytest.mark.parametrize("body", ["[]", "{", '{"reason": 3}', "just text"])
async def test_a_cancellation_with_a_bad_body_is_refused_and_does_nothing(world: Any, body: str) -> None:
    await world.start("gated", "r1")

    assert (await world.client.post("runs/r1/cancel", content=body)).status_code == 400
    assert (await world.runs.get("r1")).status == "Running"


async def test_only_an_ended_run_is_deleted(world: Any) -> None:
    await world.start("gated", "r1")
    refused = await world.client.delete("runs/r1")
    assert refused.status_code == 409
    assert "Cancel it first" in refused.json()["error"]

    await world.client.post("runs/r1/cancel")
    answer = await world.client.delete("runs/r1")

    assert answer.status_code == 204
    assert answer.content == b""
    assert (await world.client.get("workflow/gated/status/r1")).status_code == 404


async def test_health_says_whether_work_is_taken(world: Any) -> None:
    well = await world.client.get("health")
    assert well.status_code == 200
    assert well.json() == {"status": "healthy", "agents": [], "agent_count": 0}

    world.runs.down = "The scheduler does not answer."
    ill = await world.client.get("health")
    assert ill.status_code == 503
    assert (ill.json()["status"], ill.json()["reason"]) == ("unhealthy", "The scheduler does not answer.")


async def test_health_shows_the_agents(serve: Any) -> None:
    agent = {"name": "a", "type": "ChatAgent", "http_endpoint_enabled": True, "mcp_tool_enabled": False}
    world = await serve("echo", agents=[agent])

    assert (await world.client.get("health")).json() == {"status": "healthy", "agents": [agent], "agent_count": 1}


async def test_health_answers_while_user_code_blocks_the_engines_loop(world: Any) -> None:
    def ask() -> int:
        return httpx.get(f"{world.url}/api/health", timeout=20, trust_env=False).status_code

    with futures.ThreadPoolExecutor(1) as threads:
        # This loop is the engine's: it stays blocked until the answer is there.
        assert threads.submit(ask).result(20) == 200
