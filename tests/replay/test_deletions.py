"""Starts and deletions that are cut off in the middle, repeated, or meet each other, on engines that replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance import workflows
from tests.people import desk
from tests.replay import fronts
from tests.replay.conftest import Make

from perdure import errors
from perdure.hosts.replay import starts, wire
from perdure.payloads import refs
from perdure.workflow import options

LONG = "x" * 100_000
"""An input that is stored apart."""


@pytest.fixture
async def host(make_host: Make) -> AsyncIterator[Any]:
    async with make_host(workflows.app_of(asyncio.Event())) as made:
        yield made


def accept(host: Any, text: str) -> tuple[refs.Ref, list[refs.Blob]]:
    found: tuple[refs.Ref, list[refs.Blob]] = host.app.hosted_workflows["echo"].take(text)
    return found


async def start(front: fronts.Front, host: Any, text: str, *, wait: float = 0.0) -> tuple[Any, bool]:
    """Start a run by a front end."""
    value, blobs = accept(host, text)
    return await front.runs.start("echo", "r", value, blobs, wait=wait)


@pytest.mark.parametrize("text", ["hello", LONG], ids=["short", "long"])
async def test_a_start_that_did_not_reach_the_engine_is_begun_by_the_same_start_again(host: Any, text: str) -> None:
    """It is accepted then as it would have been; another one is told that the id is taken."""
    front = fronts.Front(host)
    front.engine.refused.add("start")
    with pytest.raises(errors.HubError):
        await start(front, host, text)
    front.engine.refused.clear()
    first = options.digest(accept(host, text)[0], options.NONE)
    for same in ("another", text):
        run, new = await start(front, host, same)
        assert (new, run.input_digest) == (False, first)
    assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == [text]


@pytest.mark.parametrize("where", ["payloads", "records"])
@pytest.mark.parametrize("text", ["another", LONG], ids=["another", "same"])
async def test_a_deletion_that_was_cut_off_is_one_and_the_next_start_is_new(
    host: Any, monkeypatch: pytest.MonkeyPatch, where: str, text: str
) -> None:
    """Nothing of the run before is met."""
    front = fronts.Front(host)
    await start(front, host, LONG, wait=desk.PATIENCE_SECONDS)
    getattr(front, where).refused.add("forget" if where == "records" else "purge")
    with pytest.raises(errors.HubError):
        await front.runs.purge("r")
    getattr(front, where).refused.clear()
    assert await front.runs.get("r") is None
    assert await front.runs.wait("r", 0.01) is None
    assert list(await front.runs.events("r")) == []
    monkeypatch.setattr(starts, "PURGE_SECONDS", 0.0)
    run, new = await start(front, host, text, wait=desk.PATIENCE_SECONDS)
    assert (new, run.output) == (True, [text])
    events = await front.runs.events("r")
    assert [event.id for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("where", ["engine", "payloads", "records"])
async def test_a_deletion_that_was_cut_off_is_finished_by_the_next(host: Any, where: str) -> None:
    front = fronts.Front(host)
    await start(front, host, LONG, wait=desk.PATIENCE_SECONDS)
    getattr(front, where).refused.add("forget" if where == "records" else "purge")
    with pytest.raises(errors.HubError):
        await front.runs.purge("r")
    getattr(front, where).refused.clear()
    assert await front.runs.purge("r")
    assert not await front.runs.purge("r")
    assert list(await front.records.names("r")) == []
    assert await front.runs.get("r") is None
    value, _ = accept(host, LONG)
    with pytest.raises(errors.PayloadMissing):
        await asyncio.to_thread(host.runs._payloads.read, "r", value.digest)


async def test_a_start_waits_for_whoever_is_deleting_the_run_before(host: Any) -> None:
    front = fronts.Front(host)
    await start(front, host, "one", wait=desk.PATIENCE_SECONDS)
    front.payloads.held = asyncio.Event()
    deleting = asyncio.create_task(front.runs.purge("r"))
    await front.payloads.reached("purge")
    starting = asyncio.create_task(start(fronts.Front(host), host, "two", wait=desk.PATIENCE_SECONDS))
    async with asyncio.timeout(desk.PATIENCE_SECONDS):
        while not front.records.calls or await host.runs.get("r") is not None:
            await asyncio.sleep(0)
    assert not starting.done()
    front.payloads.held.set()
    assert await deleting
    run, new = await starting
    assert (new, run.output) == (True, ["two"])


async def test_a_start_that_is_about_to_reach_the_engine_is_not_deleted(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks is told that it is pending; once it must have been told of, it is deleted as any other."""
    front, other = fronts.Front(host), fronts.Front(host)
    front.engine.held = asyncio.Event()
    starting = asyncio.create_task(start(front, host, "hello", wait=desk.PATIENCE_SECONDS))
    await front.engine.reached("start")
    assert not await other.runs.purge("r")
    shown = await other.runs.get("r")
    assert shown is not None and shown.status == "Pending"
    front.engine.held.set()
    assert (await starting)[0].output == ["hello"]
    assert await other.runs.purge("r")


async def test_a_start_that_was_deleted_before_it_reached_the_engine_leaves_nothing_there(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was so slow that it had been given up: it starts anew, with a record."""
    front, other = fronts.Front(host), fronts.Front(host)
    front.engine.held = asyncio.Event()
    starting = asyncio.create_task(start(front, host, "hello", wait=desk.PATIENCE_SECONDS))
    await front.engine.reached("start")
    monkeypatch.setattr(starts, "TELLING_SECONDS", 0.0)
    monkeypatch.setattr(starts, "SURE_SECONDS", 0.0)
    assert await other.runs.purge("r")
    front.engine.held.set()
    run, new = await starting
    assert (new, run.output) == (True, ["hello"])
    assert front.engine.calls.count("start") == 2
    assert starts.START in await front.records.names("r")


async def test_a_run_that_did_not_reach_the_engine_is_cancelled_all_the_same(host: Any) -> None:
    front = fronts.Front(host)
    front.engine.refused.add("start")
    value, blobs = host.app.hosted_workflows["gated"].take("hello")
    with pytest.raises(errors.HubError):
        await front.runs.start("gated", "r", value, blobs)
    front.engine.refused.clear()
    assert await front.runs.terminate("r", "enough")
    run = await front.runs.wait("r", desk.PATIENCE_SECONDS)
    assert run is not None and run.status == "Terminated"


async def test_an_id_that_something_else_has_in_the_engine_is_taken(host: Any) -> None:
    """A start under it is refused as under that of a run with another input, and not accepted and never begun."""
    front = fronts.Front(host)
    call = wire.pack(wire.Start(b""))
    assert await host.runs._engine.start(host.runs._bounds["asking"].orchestrator.name, "r", call)
    run, new = await start(front, host, "hello")
    assert not new
    assert (run.workflow, run.input_digest) == ("asking", b"")
    assert list(await front.records.names("r", starts.START)) == []


async def test_a_start_that_looks_just_as_a_deletion_ends_is_a_first_one(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the run before, and finds no mark that it is being deleted."""
    front = fronts.Front(host)
    await start(front, host, "one", wait=desk.PATIENCE_SECONDS)
    held = front.payloads.held = asyncio.Event()
    deleting = asyncio.create_task(front.runs.purge("r"))
    await front.payloads.reached("purge")
    look = starts.Starts._deleted

    async def late(self: starts.Starts, instance_id: str, found: starts.Started) -> float | None:
        held.set()
        assert await deleting
        return await look(self, instance_id, found)

    monkeypatch.setattr(starts.Starts, "_deleted", late)
    run, new = await start(fronts.Front(host), host, "two", wait=desk.PATIENCE_SECONDS)
    assert (new, run.output) == (True, ["two"])
