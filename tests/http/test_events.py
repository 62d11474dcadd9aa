from __future__ import annotations

import json
from typing import Any

import pytest
from tests import polling

from perdure.routes import events


def parsed(text: str) -> list[dict[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            event = json.loads(fields["data"])
            assert fields["id"] == str(event["id"])
            assert fields["event"] == event["type"]
            found.append(event)
    return found


async def test_the_stream_gives_every_event_and_closes_after_the_final_one(world: Any) -> None:
    await world.start("echo", "r1")

    answer = await world.client.get("workflow/echo/events/r1")

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    told = parsed(answer.text)
    assert [event["id"] for event in told] == [1, 2, 3]
    assert [event["type"] for event in told] == ["run_started", "output", "run_completed"]
    assert told[0]["time"].endswith("Z")


@pytest.mark.parametrize(("last", "expected"), [("0", [1, 2, 3]), ("2", [3]), ("3", []), ("99", [])])
async def test_the_stream_goes_on_after_the_last_event_id(world: Any, last: str, expected: list[int]) -> None:
    await world.start("echo", "r1")

    answer = await world.client.get("workflow/echo/events/r1", headers={"Last-Event-ID": last})

    assert [event["id"] for event in parsed(answer.text)] == expected


async def test_a_stream_that_broke_is_taken_up_where_it_broke(world: Any) -> None:
    await world.start("gated", "r1")
    async with world.client.stream("GET", "workflow/gated/events/r1") as first:
        text = ""
        async for part in first.aiter_text():
            text += part
            if parsed(text):
                break
    seen = parsed(text)

    world.gate.set()
    rest = await world.client.get("workflow/gated/events/r1", headers={"Last-Event-ID": str(seen[-1]["id"])})

    seen += parsed(rest.text)
    assert [event["id"] for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "run_completed"


async def test_the_header_counts_over_the_query(world: Any) -> None:
    await world.start("echo", "r1")

    answer = await world.client.get("workflow/echo/events/r1?after=1", headers={"Last-Event-ID": "2"})

    assert [event["id"] for event in parsed(answer.text)] == [3]
    assert len(parsed((await world.client.get("workflow/echo/events/r1?after=1")).text)) == 2


async def test_pages_give_every_event_once(world: Any) -> None:
    await world.start("echo", "r1")
    await world.runs.wait("r1", 5)
    seen: list[int] = []
    link: str | None = "workflow/echo/events/r1?limit=2"
    while link is not None:
        page = (await world.client.get(link, headers={"Accept": "application/json"})).json()
        seen += [event["id"] for event in page["events"]]
        link = page["next"]

    assert seen == [1, 2, 3]


async def test_the_page_of_a_live_run_says_where_the_next_one_will_be(world: Any) -> None:
    await world.start("gated", "r1")

    page = (await world.client.get("workflow/gated/events/r1", headers={"Accept": "application/json"})).json()

    assert page["instanceId"] == "r1"
    last = page["events"][-1]["id"]
    assert page["next"] == f"{world.url}/api/workflow/gated/events/r1?after={last}&limit={events.DEFAULT_PAGE}"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("after=-1", {}),
        ("after=x", {}),
        ("", {"Last-Event-ID": "x"}),
        ("limit=0", {"Accept": "application/json"}),
        ("limit=1e3", {"Accept": "application/json"}),
    ],
)
async def test_a_place_that_is_none_is_refused(world: Any, query: str, headers: dict[str, str]) -> None:
    await world.start("echo", "r1")

    answer = await world.client.get(f"workflow/echo/events/r1?{query}", headers=headers)

    assert answer.status_code == 400
    assert "whole number" in answer.json()["error"]


async def test_the_events_of_an_unknown_run_are_404(world: Any) -> None:
    await world.start("echo", "r1")

    assert (await world.client.get("workflow/echo/events/nope")).status_code == 404
    assert (await world.client.get("workflow/failing/events/r1")).status_code == 404


async def test_a_reader_that_leaves_frees_its_follower(world: Any) -> None:
    await world.start("gated", "r1")
    async with world.client.stream("GET", "workflow/gated/events/r1") as answer:
        async for part in answer.aiter_text():
            if parsed(part):
                break
        assert world.runs.followers == 1

    await polling.until(lambda: world.runs.followers, lambda followers: followers == 0)


async def test_a_head_request_opens_no_stream(world: Any) -> None:
    await world.start("gated", "r1")

    answer = await world.client.head("workflow/gated/events/r1")

    assert answer.status_code == 200
    assert answer.content == b""
    assert world.runs.followers == 0


async def test_a_quiet_stream_has_heartbeats(world: Any) -> None:
    await world.start("gated", "r1")
    parts: list[bytes] = []
    frames = events.stream(world.runs, "r1", 0, heartbeat=0.01)
    async for part in frames:
        parts.append(part)
        if part.startswith(b":"):
            world.gate.set()

    assert any(part.startswith(b":") for part in parts)
    told = parsed(b"".join(parts).decode())
    assert [event["type"] for event in told] == ["run_started", "run_completed"]
    assert world.runs.followers == 0


async def test_a_slow_reader_gets_all_of_a_long_log(serve: Any) -> None:
    from perdure.payloads import refs
    from perdure.testing import memory_runs

    async def chatty(value: refs.Ref, emit: memory_runs.Emit) -> list[Any]:
        for number in range(5000):
            emit("note", {"number": number, "text": "x" * 200})
        return []

    world = await serve("echo")
    world.runs.programs["echo"] = chatty
    await world.start("echo", "r1")
    text = ""
    async with world.client.stream("GET", "workflow/echo/events/r1") as answer:
        async for part in answer.aiter_text():
            text += part

    assert [event["id"] for event in parsed(text)] == list(range(1, 5003))
