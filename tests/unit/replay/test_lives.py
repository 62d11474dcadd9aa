"""Lives of orchestrations on engines that replay: what they ask for, and that they ask for it again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure.agents import orchestrator
from perdure.agents import records as agents
from perdure.hosts.replay import life, lives, log, wire
from perdure.payloads import records, refs
from perdure.testing.conformance.orchestrations import bench
from perdure.workflow import protocol

LARGE = b"-" * (life.SHOWN_BYTES + 1)
"""Makes of an event one that does not stand in the status."""


def chain(host: protocol.Host, call: bytes) -> protocol.Steps:
    for step in range(int(call)):
        host.emit(b"step %d" % step + LARGE)
        host.activity(f"s{step}", "work", step)
        yield
    return protocol.Ended(b"done")


def scripted(program: bench.Program) -> protocol.Orchestrator:
    return bench.Scripted("scripted", program, None)


def reply(value: object = None) -> wire.Reply:
    return wire.Reply("result", bench.encode(value))


def begun(program: bench.Program, call: bytes = b"") -> tuple[life.Life, life.Turn]:
    made = life.Life(scripted(program), "a", wire.Start(call), call, 100.0)
    return made, made.begin()


def pages(turn: life.Turn) -> list[wire.Page]:
    return [page for order in turn.orders if order.task is not None for page in order.task.pages]


def ids(found: Sequence[wire.Page]) -> list[int]:
    return [number for page in found for number in range(page.first, page.first + len(page.events))]


def test_events_travel_with_the_activity_that_follows() -> None:
    made, turn = begun(chain, b"2")
    told = pages(turn)
    turn = made.land(turn.orders[0].serial, reply())
    assert [order.work.role for order in turn.orders] == ["activity"]
    assert ids(told + pages(turn)) == [1, 2]


def test_where_no_activity_follows_events_have_one_of_their_own() -> None:
    def parking(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.emit(b"parked" + LARGE)
        yield
        return protocol.Ended(b"done")

    made, turn = begun(parking)
    (note,) = turn.orders
    assert note.work.name == wire.NOTE
    assert ids(pages(turn)) == [1]
    assert made.land(note.serial, wire.Reply("result")) == life.Turn()


def test_what_a_cancelled_activity_may_not_have_written_is_written_again_as_it_was() -> None:
    def fickle(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.emit(b"one" + LARGE)
        host.activity("slow", "work", 1)
        yield
        host.cancel("slow")
        host.emit(b"two" + LARGE)
        host.activity("next", "work", 2)
        yield
        return protocol.Ended(b"done")

    made, turn = begun(fickle)
    first = pages(turn)
    turn = made.hear(wire.Heard("go", b""))
    assert turn.dropped
    again = pages(turn)
    assert again[0] == first[0], "a page is written under the id of its first event and never cut anew"
    assert sorted(ids(again)) == [1, 2]


def test_a_failure_is_told_before_the_orchestration_fails() -> None:
    def failing(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.emit(b"failed")
        yield from ()
        return protocol.Ended(failure=protocol.Failure("ValueError", "no"), state=b"before")

    made, turn = begun(failing)
    assert turn.over is None
    left = [order.task.end for order in turn.orders if order.task is not None and order.task.end is not None]
    assert [end.state for end in left] == [b"before"]
    for order in turn.orders:
        turn = made.land(order.serial, wire.Reply("result"))
    assert isinstance(turn.over, wire.End)
    assert turn.over.failure == protocol.Failure("ValueError", "no")


def test_a_held_activity_is_tried_again_after_longer_and_longer_waits() -> None:
    made, turn = begun(chain, b"1")
    task = turn.orders[0].task
    waits = []
    for _ in range(8):
        turn = made.land(turn.orders[0].serial, wire.Reply("held", failure=protocol.Failure("HubError", "away")))
        (timer,) = turn.orders
        assert made.said.held == "away"
        waits.append(timer.work.fire_at - made.now)
        made.move(timer.work.fire_at)
        turn = made.land(timer.serial, None)
        assert turn.orders[0].task == task
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert isinstance(made.land(turn.orders[0].serial, reply()).over, wire.End)
    assert made.said.held == ""


def keeping(host: protocol.Host, call: bytes) -> protocol.Steps:
    for step in range(100):
        host.keep(lambda step=step: b"%d" % step)  # type: ignore[misc]  # a default binds it
        host.activity(f"s{step}", "work", call * int(call))
        yield
    return protocol.Ended()


@pytest.mark.parametrize(("call", "landings"), [(b"1", life.KEEP_EVERY_LANDINGS), (b"1000", life.FEWEST_LANDINGS)])
def test_a_life_ends_after_some_landings_and_sooner_where_steps_are_heavy(call: bytes, landings: int) -> None:
    start, seen = wire.Start(call), 0
    for expected in (life.KEEP_EVERY_LANDINGS, landings):
        made = life.Life(scripted(keeping), "a", from_the_beginning(start), call, 100.0)
        turn, seen = made.begin(), 0
        while not isinstance(turn.over, wire.Start):
            turn = made.land(turn.orders[0].serial, reply())
            seen += 1
        assert seen == expected
        assert turn.over.state == b"%d" % seen
        start = turn.over


def test_no_life_begins_from_a_state_that_the_engine_would_not_take() -> None:
    def growing(host: protocol.Host, call: bytes) -> protocol.Steps:
        for step in range(100):
            size = life.STATE_BYTES + 1 if step < 20 else 1
            host.keep(lambda size=size: b"-" * size)  # type: ignore[misc]  # a default binds it
            host.activity(f"s{step}", "work", step)
            yield
        return protocol.Ended()

    made, turn = begun(growing)
    seen = 0
    while turn.over is None:
        turn = made.land(turn.orders[0].serial, reply())
        seen += 1
    assert seen == 20


def test_what_is_heard_while_a_life_closes_is_heard_by_the_next() -> None:
    def telling(host: protocol.Host, call: bytes) -> protocol.Steps:
        for step in range(100):
            host.emit(b"-" * (life.TAIL_BYTES + 1))
            host.keep(lambda: b"kept")
            host.activity(f"s{step}", "work", step)
            yield
        return protocol.Ended()

    made, turn = begun(telling)
    while all(order.work.role == "activity" for order in turn.orders):
        turn = made.land(turn.orders[0].serial, reply())
    late = wire.Heard("late", b"1")
    assert made.hear(late) == life.Turn()
    for order in turn.orders:
        turn = made.land(order.serial, reply())
    assert isinstance(turn.over, wire.Start)
    assert turn.over.heard == (late,)


def from_the_beginning(start: wire.Start) -> wire.Start:
    """The same life from the beginning: the program resumes nowhere."""
    return wire.Start(start.call, landings=start.landings)


def test_a_replay_looks_up_what_was_worked_out_and_another_history_is_worked_out_anew() -> None:
    worked = []

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        worked.append("begun")
        for step in range(3):
            host.activity(f"s{step}", "work", step)
            worked.append((yield).value)
        return protocol.Ended(b"done")

    kept = lives.Replayed(lambda now: life.Life(scripted(program), "a", wire.Start(b""), b"", now))

    def run(*values: int) -> life.Turn:
        turn = kept.begin(100.0)
        for place, value in enumerate(values):
            text = wire.pack(reply(value))
            landing = lives.Landing(turn.orders[0].serial, "activity", text, None, False, 101.0 + place)
            turn = kept.take(landing)
        return turn

    run(1)
    run(1, 2)
    assert worked == ["begun", 1, 2]
    run(1, 7)
    assert worked == ["begun", 1, 2, "begun", 1, 7]
    assert isinstance(run(1, 7, 3).over, wire.End)
    assert worked == ["begun", 1, 2, "begun", 1, 7, 3]
    kept.close()


def page(first: int, *events: bytes) -> wire.Page:
    return wire.Page(first, tuple((1.0, event) for event in events))


async def test_a_reader_of_the_log_never_sees_a_gap() -> None:
    written = log.Log(records.MemoryRecordStore())
    await written.write("r", [page(1, b"a", b"b"), page(4, b"d")])
    assert [event.data for event in await written.read("r", 0, 10)] == [b"a", b"b"]
    tail = [page(4, b"d"), page(3, b"c")]
    assert [event.id for event in await written.read("r", 0, 10, tail)] == [1, 2, 3, 4]
    await written.write("r", [page(3, b"c")])
    assert [event.data for event in await written.read("r", 1, 2)] == [b"b", b"c"]
    assert [event.id for event in await written.read("r", 3, 10)] == [4]
    assert await written.read("r", 4, 10) == []


async def test_a_sealed_log_takes_nothing_more() -> None:
    written = log.Log(records.MemoryRecordStore())
    await written.write("r", [page(1, b"a")])
    await written.seal("r", 2.0, b"terminated")
    await written.seal("r", 3.0, b"again")
    await written.write("r", [page(2, b"late"), page(3, b"later")])
    assert [event.data for event in await written.read("r", 0, 10)] == [b"a", b"terminated"]


def test_a_session_that_is_never_idle_has_short_lives_and_takes_each_turn_once() -> None:
    """Turns come as fast as they are answered: there is one at work at each moment."""
    sessions = orchestrator.SessionOrchestrator("dafx-helper", "dafx-helper-turn")
    answered = wire.Reply("result", agents.encode(agents.Result(refs.Ref(b"head"), None)))

    def begin(start: wire.Start) -> tuple[life.Life, life.Turn]:
        made = life.Life(sessions, "session.1@dafx-helper@s1", start, b"", 100.0)
        return made, made.begin()

    def sent(number: int) -> wire.Heard:
        return wire.Heard(agents.TURN, agents.encode(agents.Turn(f"k{number}", refs.Ref(b""))))

    made, turn = begin(wire.Start(b"", heard=(sent(0), sent(1))))
    taken, lived = list[str](), 1
    for number in range(2, 100):
        (order,) = turn.orders
        taken.append(order.work.call.turn.correlation_id)
        assert not made.hear(sent(number)).orders
        turn = made.land(order.serial, answered)
        if isinstance(turn.over, wire.Start):
            assert not turn.orders, "the turn that is due is the next life's to schedule"
            made, turn = begin(turn.over)
            lived += 1
    assert taken == [f"k{number}" for number in range(98)]
    assert lived >= 2 * len(taken) // (life.KEEP_EVERY_LANDINGS + 2)
