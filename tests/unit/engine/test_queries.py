from __future__ import annotations

import asyncio

import pytest

from perdure import errors
from perdure.engine import records
from perdure.workflow import protocol

from . import lab


async def test_pages_are_newest_first_and_meet_without_gap_or_overlap(bench: lab.Lab) -> None:
    for number in range(25):
        await bench.engine.begin("awaiting", f"r{number:02}", b"1")
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        views, cursor = bench.engine.query(cursor=cursor, limit=10)
        seen += [view.id for view in views]
        pages += 1
        if cursor is None:
            break
        await bench.engine.begin("awaiting", f"later{pages}", b"1")
    assert pages == 3
    assert seen == [f"r{number:02}" for number in reversed(range(25))]


async def test_filters_narrow_the_list(bench: lab.Lab) -> None:
    first, _ = await bench.engine.begin("awaiting", "a1", b"1")
    await bench.engine.begin("chain", "a2", b"0")
    last, _ = await bench.engine.begin("chain", "b%_", b"0")

    def ids(**filters: object) -> list[str]:
        return [view.id for view in bench.engine.query(**filters)[0]]  # type: ignore[arg-type]  # as given by name

    assert ids(names=["chain"]) == ["b%_", "a2"]
    assert ids(statuses=["Running"]) == ["a1"]
    assert ids(statuses=["Running", "Completed"]) == ["b%_", "a2", "a1"]
    assert ids(prefix="a") == ["a2", "a1"]
    assert ids(prefix="b%") == ["b%_"]
    assert ids(created_from=last.created) == ["b%_"]
    assert ids(created_to=last.created) == ["a2", "a1"]
    assert ids(created_to=first.created) == []


@pytest.mark.parametrize("cursor", ["", "x", "1~", "~1", "0x1p+0"])
async def test_a_cursor_that_is_none_of_ours_is_refused(bench: lab.Lab, cursor: str) -> None:
    with pytest.raises(errors.UsageError, match="cursor"):
        bench.engine.query(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_limit_out_of_range_is_refused(bench: lab.Lab, limit: int) -> None:
    with pytest.raises(errors.UsageError, match="limit"):
        bench.engine.query(limit=limit)


def chatty(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Emits three events in the first turn, none in every second one, two in the others."""
    for number in range(3):
        host.emit(b"first %d" % number)
    for step in range(int(call)):
        host.activity(f"s{step}", "same", step)
        yield
        if step % 2:
            host.emit(b"%d" % step)
            host.emit(b"%d again" % step)
    return protocol.Ended(output=b"")


async def test_events_have_gapless_ids_however_they_are_paged(bench: lab.Lab) -> None:
    bench.program("chatty", chatty)
    await bench.engine.begin("chatty", "a", b"41")
    await bench.ended("a")
    events = bench.engine.events("a")
    assert [event.id for event in events] == list(range(1, 44))
    assert [event.data for event in events[:4]] == [b"first 0", b"first 1", b"first 2", b"1"]
    for limit in (1, 2, 3, 7, 43, 100):
        paged: list[records.Event] = []
        while page := bench.engine.events("a", paged[-1].id if paged else 0, limit):
            assert len(page) <= limit
            paged += page
        assert paged == events, limit
    assert bench.engine.events("nobody") == []


async def test_a_follower_sees_every_event_once_and_then_the_end(bench: lab.Lab) -> None:
    bench.program("chatty", chatty)
    bench.program("held", lambda host, call: held(host))
    gate = lab.Gate()
    bench.activity("gate", gate)

    def held(host: protocol.Host) -> protocol.Steps:
        host.activity("gate", "gate", None)
        yield
        return (yield from chatty(host, b"200"))

    await bench.engine.begin("held", "a", b"")

    async def follow(after: int) -> list[int]:
        return [event.id async for event in bench.engine.follow("a", after)]

    following = [asyncio.create_task(follow(after)) for after in (0, 2, 100)]
    await gate.entered.wait()
    gate.open.set()
    seen = await asyncio.gather(*following)
    assert seen == [list(range(first, 204)) for first in (1, 3, 101)]
    assert await follow(0) == seen[0]
    assert not bench.engine._core.watchers
    assert [event async for event in bench.engine.follow("nobody")] == []


async def test_the_hook_is_told_of_each_commit_in_order(bench: lab.Lab) -> None:
    told: list[tuple[str, list[bytes], str | None]] = []
    bench.engine._core.watchers._on_commit = lambda instance_id, name, events, view: told.append(
        (instance_id, list(events), None if view is None else view.status)
    )
    await bench.engine.begin("chain", "a", b"2")
    await bench.ended("a")
    assert told == [("a", [b"0"], None), ("a", [b"1"], "Completed")]
