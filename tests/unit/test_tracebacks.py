from __future__ import annotations

import asyncio

import pytest

from perdure import errors, tracebacks
from perdure.payloads import store


def user_code() -> None:
    store.MemoryPayloadStore().read("run", b"digest")


def test_only_the_users_frames_are_shown() -> None:
    with pytest.raises(errors.PayloadMissing) as caught:
        user_code()
    text = tracebacks.user_frames(caught.value)
    assert "in user_code" in text and text.endswith("restore the hub.")
    assert "store.py" not in text
    assert text.splitlines()[0] == "Traceback (most recent call last):"


def test_a_cause_comes_first_and_a_suppressed_context_not_at_all() -> None:
    def chained(suppress: bool) -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            if suppress:
                raise ValueError("second") from None
            raise ValueError("second") from error

    texts = []
    for suppress in (False, True):
        try:
            chained(suppress)
        except ValueError as error:
            texts.append(tracebacks.user_frames(error))
    assert texts[0].index("KeyError: 'first'") < texts[0].index("direct cause") < texts[0].index("ValueError: second")
    assert "KeyError" not in texts[1]


async def test_the_members_of_a_group_are_all_shown() -> None:
    async def fails(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails("one"))
            group.create_task(fails("two"))
    text = tracebacks.user_frames(caught.value)
    assert "ValueError: one" in text and "ValueError: two" in text and "in fails" in text
    assert "taskgroups.py" not in text


def test_an_exception_without_frames_or_words_is_still_described() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    failure = tracebacks.failure(Mute())
    assert failure.type == "Mute" and "RuntimeError" in failure.message and "Mute" in failure.detail


def test_a_cause_that_is_the_exception_itself_ends() -> None:
    error = ValueError("round")
    other = KeyError("and")
    error.__cause__, other.__cause__ = other, error
    assert tracebacks.user_frames(error).count("ValueError: round") < 10
