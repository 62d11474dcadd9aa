"""Starts under ids that were made for them, which leave no record, on engines that replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance import workflows
from tests.people import desk
from tests.replay import fronts, test_rewinds
from tests.replay.conftest import Make

from perdure import errors
from perdure.hosts.replay import deletions, start_records
from perdure.workflow import options

LONG = "x" * 100_000
"""An input that is stored apart."""


@pytest.fixture
async def host(make_host: Make) -> AsyncIterator[Any]:
    async with make_host(workflows.app_of(asyncio.Event())) as made:
        yield made


async def start(front: fronts.Front, host: Any, text: str, *, fresh: bool = True, workflow: str = "echo") -> Any:
    value, blobs = host.app.hosted_workflows[workflow].take(text)
    return await front.runs.start(workflow, "r", value, blobs, fresh=fresh, wait=desk.PATIENCE_SECONDS)


@pytest.mark.parametrize("text", ["hello", LONG], ids=["short", "long"])
async def test_a_fresh_start_writes_no_record_and_its_id_is_taken(host: Any, text: str) -> None:
    """The same start by that id finds the run, another one is told what is there."""
    front = fronts.Front(host)
    run, new = await start(front, host, text)
    assert (new, run.output) == (True, [text])
    assert list(await front.records.names("r", start_records.START)) == []
    for again in (text, "another"):
        run, new = await start(front, host, again, fresh=False)
        assert (new, run.output) == (False, [text])
        assert run.input_digest == options.digest(host.app.hosted_workflows["echo"].take(text)[0])
    assert list(await front.records.names("r", start_records.START)) == []


async def test_a_fresh_start_that_fails_is_none(host: Any) -> None:
    front = fronts.Front(host)
    front.engine.refused.add("start")
    with pytest.raises(errors.HubError):
        await start(front, host, "hello")
    assert await front.runs.get("r") is None


@pytest.mark.parametrize("where", ["nowhere", "engine", "payloads", "records", "mark"])
async def test_a_fresh_run_is_deleted_whole_wherever_that_is_cut_off(
    host: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it is seen by nobody, and who takes its id next meets nothing of it."""
    front = fronts.Front(host)
    await start(front, host, LONG)
    if where != "nowhere":
        line = front.records if where == "mark" else getattr(front, where)
        line.refused.add({"records": "forget", "mark": "put_if_absent"}.get(where, "purge"))
        with pytest.raises(errors.HubError):
            await front.runs.purge("r")
        line.refused.clear()
        monkeypatch.setattr(deletions, "CLAIM_SECONDS", 0.0)
    if where not in ("engine", "mark", "nowhere"):
        assert await front.runs.get("r") is None
        assert not await front.runs.terminate("r", "enough")
    assert await front.runs.purge("r")
    assert list(await front.records.names("r")) == []
    assert await front.runs.get("r") is None
    run, new = await start(front, host, "other", fresh=False)
    assert (new, run.output) == (True, ["other"])


async def test_who_is_late_to_delete_a_fresh_run_leaves_no_run_behind(host: Any) -> None:
    """It has seen the run, another has deleted it since, and it dies after it has written what is deleted."""
    front, late = fronts.Front(host), fronts.Front(host)
    await start(front, host, "one")
    late.records.held = asyncio.Event()
    late.records.refused.add("remove")
    deleting = asyncio.create_task(late.runs.purge("r"))
    await late.records.reached("put_if_absent")
    assert await front.runs.purge("r")
    late.records.held.set()
    with pytest.raises(errors.HubError):
        await deleting
    assert list(await front.records.names("r", start_records.START)) == [start_records.START]
    assert await front.runs.get("r") is None
    run, new = await start(front, host, "one", fresh=False)
    assert (new, run.output) == (True, ["one"])


async def test_who_is_late_to_delete_a_fresh_run_and_marks_nothing_leaves_no_run_behind(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies between what is deleted and that it is: what it has written is of nothing that is there."""
    front, late = fronts.Front(host), fronts.Front(host)

    async def dies(*_: object) -> bool:
        raise errors.HubError("It died.")

    async def left_behind() -> None:
        await start(front, host, "one")
        late.records.held = asyncio.Event()
        late.records.calls.clear()
        deleting = asyncio.create_task(late.runs.purge("r"))
        await late.records.reached("put_if_absent")
        assert await front.runs.purge("r")
        with monkeypatch.context() as patched:
            patched.setattr(deletions.Deletions, "delete", dies)
            late.records.held.set()
            with pytest.raises(errors.HubError):
                await deleting
        assert list(await front.records.names("r", start_records.START)) == [start_records.START]

    await left_behind()
    assert await front.runs.get("r") is None
    assert not await front.runs.terminate("r", "enough")
    run, new = await start(front, host, "one", fresh=False)
    assert (new, run.output) == (True, ["one"])
    assert await front.runs.purge("r")
    await left_behind()
    assert await front.runs.purge("r")
    assert list(await front.records.names("r")) == []


async def test_who_is_late_to_delete_a_fresh_run_spares_the_next_of_its_id(host: Any) -> None:
    front, late = fronts.Front(host), fronts.Front(host)
    await start(front, host, "one")
    late.records.held = asyncio.Event()
    deleting = asyncio.create_task(late.runs.purge("r"))
    await late.records.reached("put_if_absent")
    assert await front.runs.purge("r")
    run, new = await start(front, host, "two", fresh=False)
    assert (new, run.output) == (True, ["two"])
    late.records.held.set()
    assert not await deleting
    run, new = await start(front, host, "two", fresh=False)
    assert (new, run.output) == (False, ["two"])


async def test_a_fresh_run_that_failed_is_rewound_and_its_id_stays_taken(make_host: Make) -> None:
    mood = test_rewinds.Mood()
    async with make_host(mood.app()) as host:
        (name,) = host.app.hosted_workflows
        front = fronts.Front(host)
        run, new = await start(front, host, "hello", workflow=name)
        assert (new, run.status) == (True, "Failed")
        mood.fails = False
        assert await front.runs.rewind("r")
        run = await front.runs.wait("r", desk.PATIENCE_SECONDS)
        assert run is not None and run.output == ["hello"]
        run, new = await start(front, host, "another", workflow=name, fresh=False)
        assert (new, run.output) == (False, ["hello"])
