"""The pure part: landings in, effects out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine import instance, records
from perdure.workflow import protocol

from . import lab


def live(program: lab.Program, resumed: lab.Resumed | None = None, call: bytes = b"") -> instance.Live:
    return instance.Live(
        lab.Scripted("p", program, resumed), number=1, instance_id="a", name="p", call=call, created=10.0, epoch=1
    )


def land(one: instance.Live, kind: int, key: str, value: Any = None, time: float = 11.0) -> instance.Turn:
    data = None if kind == records.TIMER else value if kind == records.EVENT else lab.encode(value)
    turn = one.land(kind, key, value, data, time)
    assert turn is not None
    return turn


def test_a_first_turn_without_events_needs_no_history_row() -> None:
    turn = live(lab.chain, call=b"1").begin()
    assert turn.row is None and turn.first
    assert [(work.kind, work.key, work.call) for work in turn.scheduled] == [("activity", "s0", 0)]


def test_a_landing_is_one_row_with_its_attempt_and_what_was_emitted() -> None:
    one = live(lab.chain, call=b"2")
    one.begin()
    turn = land(one, records.RESULT, "s0", 0)
    assert turn.row is not None and turn.row[:3] == (1, 1, 1)
    record = records.decode_record(turn.row.record)
    assert record == records.Record(11.0, records.RESULT, "s0", lab.encode(0), 1, 1, [b"0"])


def test_what_nobody_waits_for_does_not_land() -> None:
    one = live(lab.chain, call=b"2")
    one.begin()
    assert one.land(records.RESULT, "s7", 0, b"", 11.0) is None
    land(one, records.RESULT, "s0", 0)
    assert one.land(records.RESULT, "s0", 0, b"", 11.0) is None
    assert one.seq == 1


def test_time_never_runs_backwards() -> None:
    one = live(lab.chain, call=b"3")
    one.begin()
    assert land(one, records.RESULT, "s0", 0, 20.0).time == 20.0
    assert land(one, records.RESULT, "s1", 0, 15.0).time == 20.0
    assert one.now == 20.0


def test_a_key_in_use_fails_the_instance() -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("k", "same", 1)
        host.timer("k", 2.0)
        yield
        return protocol.Ended()

    turn = live(program).begin()
    assert turn.status == "Failed" and turn.ended is not None and turn.ended.failure is not None
    assert "'k' is in use by another activity" in turn.ended.failure.message
    assert turn.scheduled == []


def test_an_end_takes_back_what_is_outstanding() -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("slow", "same", 1)
        host.activity("fast", "same", 1)
        yield
        return protocol.Ended(output=b"")

    one = live(program)
    one.begin()
    turn = land(one, records.RESULT, "fast")
    assert [work.key for work in turn.cancelled] == ["slow"]
    assert not one.outstanding and not one.busy


@pytest.mark.parametrize(("ahead", "parkable"), [(1.0, False), (60.0, True)])
def test_only_a_distant_timer_lets_an_instance_leave_memory(ahead: float, parkable: bool) -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.timer("t", host.now + ahead)
        yield
        return protocol.Ended()

    one = live(program)
    one.begin()
    assert one.parkable is parkable


def test_outstanding_activities_and_children_keep_an_instance_in_memory() -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("a", "same", 1)
        yield
        host.child("c", "p", "a/c", b"")
        yield
        return (yield from lab.awaiting(host, b"1"))

    one = live(program)
    one.begin()
    assert not one.parkable
    land(one, records.RESULT, "a")
    assert not one.parkable
    land(one, records.RESULT, "c")
    assert one.parkable


def test_a_state_that_cannot_be_kept_fails_the_instance_with_the_reason() -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        def state() -> bytes:
            raise TypeError("not encodable")

        while True:
            host.keep(state)
            yield

    one = live(program)
    one.begin()
    for _ in range(instance.KEEP_AT_PARKING_LANDINGS - 1):
        assert land(one, records.EVENT, "go", b"").ended is None
    turn = land(one, records.EVENT, "go", b"")
    assert turn.status == "Failed"
    assert turn.ended is not None and turn.ended.failure is not None and turn.ended.failure.message == "not encodable"


def mixed(host: protocol.Host, first: int) -> protocol.Steps:
    """From step ``first``: fan out to some activities, keep a state before each round, emit as they land."""
    for step in range(first, 40):
        host.keep(lambda step=step: b"%d" % step)  # type: ignore[misc]  # a default binds the step
        host.status(b"step %d" % step)
        host.emit(b"begun %d" % step)
        keys = [f"{step}.{n}" for n in range(step % 3 + 1)]
        for key in keys:
            host.activity(key, "same", key)
        if step % 4 == 0:
            host.timer(f"t{step}", host.now + 1000)
        waiting = set(keys)
        while waiting:
            landed = yield
            if landed.kind != "event":
                waiting.discard(landed.key)
            host.emit(f"{landed.kind} {landed.key} at {host.now}".encode())
        if step % 4 == 0:
            host.cancel(f"t{step}")
    return protocol.Ended(output=b"done")


@given(order=st.lists(st.integers(0, 3), min_size=1, max_size=90), cut=st.integers(0, 90))
def test_rebuilding_at_any_landing_gives_the_instance_that_was_there(order: list[int], cut: int) -> None:
    def make() -> instance.Live:
        return live(lambda host, call: mixed(host, 0), lambda host, call, state: mixed(host, int(state)))

    one = make()
    turns = [one.begin()]
    for number, choice in enumerate(order[:cut]):
        outstanding = [work for work in one.outstanding.values() if work.kind == "activity"]
        if one.ended is not None:
            break
        if choice == 3 or not outstanding:
            turns.append(land(one, records.EVENT, "go", b"x", 11.0 + number))
        else:
            work = outstanding[choice % len(outstanding)]
            turns.append(land(one, records.RESULT, work.key, work.key, 11.0 + number))
    if one.ended is not None:
        return
    rows = [turn.row for turn in turns if turn.row is not None]
    kept = next((turn.kept for turn in reversed(turns) if turn.kept is not None), None)
    again = make()
    assert again.rebuild(kept, [row for row in rows if kept is None or row.seq >= kept.seq], 2) is None
    assert again.outstanding.keys() == one.outstanding.keys()
    for key, work in one.outstanding.items():
        other = again.outstanding[key]
        assert (other.kind, other.call, other.fire_at) == (work.kind, work.call, work.fire_at)
        assert other.epoch == 1
    for name in ("seq", "events", "now", "custom_status", "busy"):
        assert getattr(again, name) == getattr(one, name), name
    if one.busy:
        key = next(work.key for work in one.outstanding.values() if work.kind == "activity")
        then, now = land(again, records.RESULT, key, key, 500.0), land(one, records.RESULT, key, key, 500.0)
        assert then.emitted == now.emitted and then.row is not None
        assert records.decode_record(then.row.record).attempt == 2


def test_attempts_are_counted_from_where_work_was_scheduled_across_kept_states() -> None:
    def steps(host: protocol.Host, first: int) -> protocol.Steps:
        if first == 0:
            host.activity("slow", "same", 0)
        for step in range(first, 100):
            host.keep(lambda step=step: b"%d" % step)  # type: ignore[misc]  # a default binds the step
            host.activity(f"s{step}", "same", step)
            yield
        return protocol.Ended()

    def resume(host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        host.activity("slow", "same", 0)
        return steps(host, int(state))

    def make() -> instance.Live:
        return live(lambda host, call: steps(host, 0), resume)

    one = make()
    turns = [one.begin(), *(land(one, records.RESULT, f"s{step}", step) for step in range(10))]
    rows = [turn.row for turn in turns if turn.row is not None]
    two = make()
    two.rebuild(None, rows, 2)
    turns = [land(two, records.RESULT, f"s{step}", step) for step in range(10, 60)]
    rows += [turn.row for turn in turns if turn.row is not None]
    kept = next(turn.kept for turn in reversed(turns) if turn.kept is not None)
    three = make()
    three.rebuild(kept, [row for row in rows if row.seq >= kept.seq], 3)
    assert three.outstanding["slow"].epoch == 1
    assert three.outstanding["s60"].epoch == 2
    row = land(three, records.RESULT, "slow", 0).row
    assert row is not None and records.decode_record(row.record).attempt == 3
