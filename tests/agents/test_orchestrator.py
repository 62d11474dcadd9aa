from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.agents import orchestrator, records
from perdure.payloads import refs
from perdure.workflow import protocol

HOUR = 3600.0


@dataclasses.dataclass
class Desk:
    """A host that does nothing by itself: the test says what lands."""

    now: float = 0.0
    instance_id: str = "@dafx-helper@s1"
    calls: dict[str, records.Call] = dataclasses.field(default_factory=dict)
    timers: dict[str, float] = dataclasses.field(default_factory=dict)
    told: list[records.Told] = dataclasses.field(default_factory=list)
    custom: records.Status = dataclasses.field(default_factory=records.Status)
    kept: bytes = b""

    def activity(self, key: str, name: str, call: Any) -> None:
        assert key not in self.calls
        self.calls[key] = call

    def child(self, key: str, name: str, instance_id: str, call: bytes) -> None:
        raise AssertionError("a session has no children")

    def timer(self, key: str, fire_at: float) -> None:
        assert key not in self.timers
        self.timers[key] = fire_at

    def cancel(self, key: str) -> None:
        self.timers.pop(key, None)
        self.calls.pop(key, None)

    def emit(self, event: bytes) -> None:
        self.told.append(records.decode_told(event))

    def status(self, value: bytes | None) -> None:
        assert value is not None
        self.custom = records.decode_status(value)

    def keep(self, state: Callable[[], bytes]) -> None:
        self.kept = state()


class Session:
    """A session on a desk."""

    def __init__(self, ttl: float = 0.0) -> None:
        self.ttl = ttl
        self.desk = Desk()
        self.kind = orchestrator.SessionOrchestrator("dafx-helper", "dafx-helper-turn")
        self.steps = self.kind.begin(self.desk, b"")
        next(self.steps)
        self.over = False

    def rebuild(self) -> None:
        """Go on from the state that was kept, as a host does after a crash."""
        before = self.desk
        self.desk = Desk(before.now, told=before.told)
        self.steps = self.kind.resume(self.desk, b"", before.kept)
        next(self.steps)
        assert (self.desk.calls, self.desk.timers) == (before.calls, before.timers)
        assert self.desk.custom == before.custom

    def land(self, kind: Any, key: str, value: Any = None) -> None:
        try:
            self.steps.send(protocol.Landed(kind, key, value, self.desk.now))
        except StopIteration:
            self.over = True

    def turn(self, name: str) -> None:
        self.land("event", records.TURN, records.encode(records.Turn(name, refs.Ref(b"x"), self.ttl)))

    def reset(self, name: str) -> None:
        self.land("event", records.RESET, records.encode(records.Turn(name, reset=True)))

    def answer(self, fails: bool = False) -> None:
        for key, call in list(self.desk.calls.items()):
            del self.desk.calls[key]
            if fails:
                self.land("failure", key, protocol.Failure("ValueError", "no"))
            else:
                self.land("result", key, records.Result(refs.Ref(None, call.turn.correlation_id.encode()), None))

    def fail_once(self, wait: float) -> None:
        ((key, call),) = self.desk.calls.items()
        del self.desk.calls[key]
        self.land("result", key, records.Result(call.head, call.document, wait))

    def pass_time(self, seconds: float) -> None:
        self.desk.now += seconds
        for key, due in list(self.desk.timers.items()):
            if due <= self.desk.now and not self.over:
                del self.desk.timers[key]
                self.land("timer", key)


def test_one_turn_runs_at_a_time_and_the_others_wait_in_order() -> None:
    session = Session()
    for name in "abc":
        session.turn(name)

    assert [call.turn.correlation_id for call in session.desk.calls.values()] == ["a"]
    assert session.desk.custom.pending == 3
    for _ in range(3):
        session.answer()
    assert [told.correlation_id for told in session.desk.told] == ["a", "b", "c"]


def test_a_turn_sees_the_log_as_the_turn_before_left_it() -> None:
    session = Session()
    for name in "ab":
        session.turn(name)
    session.answer()

    (call,) = session.desk.calls.values()
    assert call.head == refs.Ref(None, b"a") and call.entries == 1


@pytest.mark.parametrize("crash", [False, True])
def test_a_turn_that_is_tried_again_keeps_its_place_and_its_key_also_over_a_crash(crash: bool) -> None:
    session = Session()
    session.turn("a")
    session.turn("b")
    (key,) = session.desk.calls
    for attempt in (2, 3):
        session.fail_once(wait=5.0)
        assert not session.desk.calls and session.desk.custom.pending == 2
        if crash:
            session.rebuild()
        session.pass_time(5.0)
        if crash:
            session.rebuild()
        ((same, call),) = session.desk.calls.items()
        assert (same, call.attempt, call.turn.correlation_id) == (key, attempt, "a")
    session.answer()
    (call,) = session.desk.calls.values()
    assert (call.attempt, call.turn.correlation_id) == (1, "b")
    assert [told.correlation_id for told in session.desk.told] == ["a"]


def test_a_session_deleted_while_a_turn_waits_to_be_tried_again_is_over() -> None:
    session = Session()
    session.turn("a")
    session.fail_once(wait=5.0)
    session.land("event", records.DELETE, b"")

    assert session.over and not session.desk.timers and not session.desk.calls


def test_a_turn_that_left_no_entry_is_told_and_may_be_sent_again() -> None:
    session = Session()
    session.turn("a")
    session.answer(fails=True)
    session.turn("a")

    assert session.desk.told[0].kind == "failed" and session.desk.told[0].entry is None
    assert len(session.desk.calls) == 1


def test_a_turn_puts_off_the_end_of_its_session() -> None:
    session = Session(ttl=HOUR)
    session.turn("a")
    session.pass_time(2 * HOUR)
    assert not session.over, "a session does not expire while its agent is at work"
    session.answer()
    session.pass_time(0.9 * HOUR)
    session.turn("b")
    session.answer()
    session.pass_time(0.9 * HOUR)
    assert not session.over
    session.pass_time(0.2 * HOUR)
    assert session.over


def test_there_is_one_timer_however_many_turns() -> None:
    session = Session(ttl=HOUR)
    for number in range(50):
        session.turn(str(number))
        session.answer()
        session.pass_time(60)

    assert len(session.desk.timers) == 1
    assert session.desk.custom.expires == session.desk.now - 60 + HOUR


def test_what_a_session_keeps_does_not_grow_with_its_turns() -> None:
    session = Session(ttl=HOUR)
    sizes = []
    for number in range(1000):
        session.turn(f"turn-{number:06}")
        session.answer()
        sizes.append(len(session.desk.kept))

    assert sizes[-1] <= sizes[100] + 16


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.sampled_from("abcdef")),
        st.tuples(st.just("reset"), st.sampled_from("xyz")),
        st.tuples(st.just("answer"), st.booleans()),
        st.tuples(st.just("pass_time"), st.floats(0, HOUR)),
    ),
    max_size=40,
)


@given(ACTIONS, st.integers(1, 3))
def test_a_session_rebuilt_at_any_moment_goes_on_as_if_it_had_never_stopped(
    actions: list[tuple[str, Any]], every: int
) -> None:
    steady, rebuilt = Session(HOUR / 2), Session(HOUR / 2)
    for place, (action, value) in enumerate(actions):
        if steady.over:
            break
        for session in (steady, rebuilt):
            getattr(session, action)(value)
        if place % every == 0 and not rebuilt.over:
            rebuilt.rebuild()
        assert steady.over == rebuilt.over
        assert [msgspec.to_builtins(told) for told in steady.desk.told] == [
            msgspec.to_builtins(told) for told in rebuilt.desk.told
        ]
