"""Requests under an id that an earlier one had."""

from __future__ import annotations

import msgspec
import pytest

from perdure.payloads import refs
from perdure.workflow import run_state, snapshot

EARLIER = run_state.Request("q", "asker", refs.Ref(b"x"), "dict", "str", superstep=1)
LATER = msgspec.structs.replace(EARLIER, superstep=3)
SAID = refs.Ref(b"x")


def state(*requests: run_state.Request, expired: tuple[str, ...] = ()) -> run_state.RunState:
    due = (run_state.Delivery("asker", 0, (), ()),)
    return run_state.RunState(3, due, (None,), snapshot.Snapshot(), requests=requests, expired=expired)


def test_an_answer_to_an_earlier_request_is_none_to_a_later_one() -> None:
    assert run_state.answer(state(LATER), run_state.Answer("q", SAID, 1)) == state(LATER)
    assert not run_state.answer(state(LATER), run_state.Answer("q", SAID, 3)).requests


def test_an_answer_to_whichever_is_open_is_one_to_it() -> None:
    assert not run_state.answer(state(LATER), run_state.Answer("q", SAID)).requests


@pytest.mark.parametrize(("superstep", "left"), [(1, (LATER,)), (3, ())])
def test_a_withdrawal_of_an_earlier_request_is_none_of_a_later_one(
    superstep: int, left: tuple[run_state.Request, ...]
) -> None:
    assert run_state.withdraw(state(LATER), (run_state.Asked("q", superstep),)).requests == left


def test_a_request_that_takes_the_place_of_one_whose_deadline_passed_has_its_own() -> None:
    """A run that resumes then sets its clock, and does not answer it at once."""
    before = state(EARLIER, expired=("q",))
    after = run_state.land(before, 0, run_state.StepResult(requests=(LATER,)))
    assert (after.requests, after.expired) == ((LATER,), ())
