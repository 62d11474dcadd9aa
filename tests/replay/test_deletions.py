"""Starts and deletions that are cut off in the middle, repeated, or meet each other, on engines that replay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from agent_framework import WorkflowBuilder
from tests.conformance import workflows
from tests.people import desk
from tests.replay import fronts, test_deadlines
from tests.replay.conftest import Make

from perdure import errors
from perdure.hosts.replay import activities, deletions, start_records, starts, wire
from perdure.payloads import refs
from perdure.workflow import options, protocol

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
    monkeypatch.setattr(deletions, "CLAIM_SECONDS", 0.0)
    run, new = await start(front, host, text, wait=desk.PATIENCE_SECONDS)
    assert (new, run.output) == (True, [text])
    events = await front.runs.events("r")
    assert [event.id for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("where", ["engine", "payloads", "records"])
@pytest.mark.parametrize("by", ["deletion", "sweep"])
async def test_a_deletion_that_was_cut_off_is_finished_by_the_next(
    host: Any, monkeypatch: pytest.MonkeyPatch, where: str, by: str
) -> None:
    """Or by a sweep, which finds by its mark that it was begun."""
    front = fronts.Front(host)
    await start(front, host, LONG, wait=desk.PATIENCE_SECONDS)
    owner = await start_records.owner(host.runs._records, "r")
    getattr(front, where).refused.add("forget" if where == "records" else "purge")
    with pytest.raises(errors.HubError):
        await front.runs.purge("r")
    getattr(front, where).refused.clear()
    monkeypatch.setattr(deletions, "CLAIM_SECONDS", 0.0)
    if by == "deletion":
        assert await front.runs.purge("r")
        assert front.engine.calls.count("purge") == (2 if where == "engine" else 1), "another may have the id by then"
    else:
        await sweep(host, monkeypatch)
    assert not await front.runs.purge("r")
    assert await front.runs.get("r") is None
    assert await left_of(host, owner) == []


async def left_of(host: Any, owner: str) -> list[str]:
    """What is left of a run whose input was the long one, and of the record that it has the id."""
    left = [*await host.runs._records.names(owner), *await host.runs._records.names("r")]
    value, _ = accept(host, LONG)
    try:
        await asyncio.to_thread(host.runs._payloads.read, owner, value.digest)
    except errors.PayloadMissing:
        return left
    return [*left, "the input"]


async def sweep(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep as it is done when a day is over."""
    with monkeypatch.context() as later:
        later.setattr(deletions, "LATE_SECONDS", 0.0)
        await host.runs._starts.deletions.sweep()


async def test_a_start_waits_for_whoever_is_deleting_the_run_before(host: Any) -> None:
    """So does another deletion: the engine would purge whatever has the id by then."""
    front, other, third = fronts.Front(host), fronts.Front(host), fronts.Front(host)
    await start(front, host, "one", wait=desk.PATIENCE_SECONDS)
    held = front.engine.held = asyncio.Event()
    claims = front.records.calls.count("put_if_absent") + 1
    deleting = asyncio.create_task(front.runs.purge("r"))
    await front.engine.reached("purge")
    again = asyncio.create_task(other.runs.purge("r"))
    await other.records.reached("put_if_absent")
    front.records.held = asyncio.Event()
    held.set()
    # It is out of the engine, and that is not written down yet.
    await front.records.reached("put_if_absent", claims + 1)
    starting = asyncio.create_task(start(third, host, "two", wait=desk.PATIENCE_SECONDS))
    await third.records.reached("put_if_absent", 2)
    assert not starting.done() and not again.done()
    front.records.held.set()
    assert await deleting and await again
    run, new = await starting
    assert (new, run.output) == (True, ["two"])
    assert "purge" not in [*other.engine.calls, *third.engine.calls]
    assert await host.runs.purge("r")


@pytest.mark.parametrize("at", ["get", "put_if_absent", "forget", "remove"])
async def test_a_deletion_that_is_late_leaves_the_next_run_of_the_id(host: Any, at: str) -> None:
    """It looked at the run before, and another has deleted that and started the next meanwhile."""
    late, other = fronts.Front(host), fronts.Front(host)
    await start(other, host, LONG, wait=desk.PATIENCE_SECONDS)
    line = late.engine if at == "get" else late.records
    held = line.held = asyncio.Event()
    line.holds = {at}
    deleting = asyncio.create_task(late.runs.purge("r"))
    await line.reached(at)
    assert await other.runs.purge("r")
    assert (await start(other, host, LONG, wait=desk.PATIENCE_SECONDS))[0].output == [LONG]
    events = await host.runs.events("r")
    held.set()
    assert await deleting
    run = await host.runs.get("r")
    assert run is not None and run.output == [LONG]
    assert await host.runs.events("r") == events
    owner = await start_records.owner(host.runs._records, "r")
    assert await host.runs.purge("r")
    assert await host.runs.get("r") is None
    assert await left_of(host, owner) == []


async def test_a_deletion_that_comes_after_the_marks_are_gone_leaves_the_next_run(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, other = fronts.Front(host), fronts.Front(host)
    await start(other, host, "one", wait=desk.PATIENCE_SECONDS)
    late.records.held, late.records.holds = asyncio.Event(), {"put_if_absent"}
    deleting = asyncio.create_task(late.runs.purge("r"))
    await late.records.reached("put_if_absent")
    assert await other.runs.purge("r")
    await sweep(host, monkeypatch)
    assert await other.records.names(deletions.MARKS) == []
    assert (await start(other, host, "two", wait=desk.PATIENCE_SECONDS))[0].output == ["two"]
    late.records.held.set()
    assert await deleting
    run = await host.runs.get("r")
    assert run is not None and run.output == ["two"]


async def test_whoever_is_too_slow_to_take_a_run_out_of_the_engine_does_not(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may be at it by then: the deletion fails, and the next does it."""
    slow = fronts.Front(host)
    await start(slow, host, "one", wait=desk.PATIENCE_SECONDS)
    with monkeypatch.context() as hasty:
        hasty.setattr(deletions, "PURGE_SECONDS", 0.0)
        with pytest.raises(errors.HubError, match="Delete it again"):
            await slow.runs.purge("r")
    assert "purge" not in slow.engine.calls
    monkeypatch.setattr(deletions, "CLAIM_SECONDS", 0.0)
    assert await host.runs.purge("r")


async def test_what_an_activity_writes_for_a_run_that_is_deleted_the_next_run_does_not_meet(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was queued yet when the run was deleted. A day later a sweep deletes what it has left."""
    given: list[tuple[activities.Activities, str, str, wire.Task]] = []
    perform = activities.Activities.__call__

    async def seen(self: activities.Activities, instance_id: str, name: str, task: wire.Task) -> wire.Reply:
        given.append((self, instance_id, name, task))
        return await perform(self, instance_id, name, task)

    monkeypatch.setattr(activities.Activities, "__call__", seen)
    await start(fronts.Front(host), host, LONG, wait=desk.PATIENCE_SECONDS)
    owner = await start_records.owner(host.runs._records, "r")
    assert await host.runs.purge("r")
    here, _, name, task = next(each for each in given if each[2] != wire.NOTE)
    page = wire.Page(1, ((0.0, b"of the run before"),))
    failure = protocol.Failure("Old", "of the run before")
    late = msgspec.structs.replace(task, pages=(page,), end=wire.End(None, failure, next=900))
    assert (await perform(here, "r", name, late)).kind == "result"
    assert (await perform(here, "r", wire.NOTE, late)).kind == "result"
    await host.runs._starts.deletions.sweep()
    assert await left_of(host, owner) == ["end/000000000900", "event/000000000001", "the input"], "it was too early"

    value, blobs = host.app.hosted_workflows["failing"].take("hello")
    run, _ = await host.runs.start("failing", "r", value, blobs, wait=desk.PATIENCE_SECONDS)
    assert run.status == "Failed" and run.failure is not None
    assert "of the run before" not in run.failure.message
    told = [event.type for event in await host.runs.events("r")]
    assert told[0] == "started" and told[-1] == "failed"
    await sweep(host, monkeypatch)
    names = await host.runs._records.names(owner)
    assert (list(names), await host.runs._records.names(deletions.MARKS)) == ([], [])
    assert [event.type for event in await host.runs.events("r")] == told


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
    assert start_records.START in await front.records.names("r")


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
    assert list(await front.records.names("r", start_records.START)) == []


async def test_a_start_that_looks_just_as_a_deletion_ends_is_a_first_one(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the run before, and no mark that it is being deleted: that was swept away."""
    front = fronts.Front(host)
    await start(front, host, "one", wait=desk.PATIENCE_SECONDS)
    look = deletions.Deletions.begun
    held = asyncio.Event()
    front.records.held, front.records.holds = held, {"remove"}
    deleting = asyncio.create_task(front.runs.purge("r"))
    await front.records.reached("remove")

    async def once(self: deletions.Deletions, instance_id: str, found: start_records.Started) -> bool:
        monkeypatch.setattr(deletions.Deletions, "begun", look)
        held.set()
        assert await deleting
        await sweep(host, monkeypatch)
        return await look(self, instance_id, found)

    monkeypatch.setattr(deletions.Deletions, "begun", once)
    run, new = await start(fronts.Front(host), host, "two", wait=desk.PATIENCE_SECONDS)
    assert (new, run.output) == (True, ["two"])


async def test_a_run_that_is_followed_and_deleted_is_not_gone_on_with_by_the_next_of_its_id(host: Any) -> None:
    value, blobs = host.app.hosted_workflows["gated"].take("one")
    await host.runs.start("gated", "r", value, blobs)
    following = host.runs.follow("r")
    first = await anext(following)
    assert await host.runs.terminate("r", "enough")
    assert await host.runs.purge("r")
    await start(fronts.Front(host), host, "two", wait=desk.PATIENCE_SECONDS)
    seen = [first, *[event async for event in following]]
    assert "completed" not in {event.type for event in seen}
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))


async def test_a_run_of_a_hub_from_before_incarnations_is_shown_ends_and_is_deleted(host: Any) -> None:
    value, blobs = accept(host, LONG)
    bound = host.runs._bounds["echo"]
    call = wire.pack(wire.Start(bound.start(value, {})))
    digest = options.digest(value, options.NONE)
    await host.runs._payloads.put("r", blobs)
    await host.runs._records.put_if_absent(
        "r", start_records.START, wire.encode((bound.orchestrator.name, digest, time.time(), call))
    )
    assert await host.runs._engine.start(bound.orchestrator.name, "r", call)
    assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == [LONG]
    run, new = await start(fronts.Front(host), host, LONG)
    assert (new, run.output, run.input_digest) == (False, [LONG], digest)
    assert await host.runs.purge("r")
    assert await left_of(host, "r") == []
    run, new = await start(fronts.Front(host), host, "two", wait=desk.PATIENCE_SECONDS)
    assert (new, run.output) == (True, ["two"])


async def test_an_answer_that_is_late_is_none_to_the_next_run_of_the_id(make_host: Make) -> None:
    """Though that asks under the same id: it is for the run before, which was deleted before it was told."""
    app = desk.app_of(WorkflowBuilder(start_executor=test_deadlines.Again()).build())
    async with make_host(app) as host:
        front = fronts.Front(host)
        await host.start("workflow", "one", run_id="r")
        await test_deadlines.asked(host, "r")
        held = front.engine.held = asyncio.Event()
        front.engine.holds = {"raise_event"}
        answering = asyncio.create_task(front.runs.answer("r", "q", b'"late"', "application/json"))
        await front.engine.reached("raise_event")
        assert await host.runs.terminate("r", "enough")
        assert await host.runs.purge("r")
        await host.start("workflow", "two", run_id="r")
        await test_deadlines.asked(host, "r")
        held.set()
        assert await answering == "accepted"
        assert await host.runs.answer("r", "q", b'"first"', "application/json") == "accepted"
        await test_deadlines.asked(host, "r", 2)
        assert await host.runs.answer("r", "q", b'"second"', "application/json") == "accepted"
        assert await host.outputs("r", timeout=desk.PATIENCE_SECONDS) == ["first, second"]
