"""Asking again and again, for what nothing tells: tests wait for events wherever there is one to wait for."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.01

T = TypeVar("T")


@overload
async def until(
    ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], patience_seconds: float = PATIENCE_SECONDS
) -> T: ...
@overload
async def until(
    ask: Callable[[], T], holds: Callable[[T], object], patience_seconds: float = PATIENCE_SECONDS
) -> T: ...
async def until(
    ask: Callable[[], Awaitable[T] | T], holds: Callable[[T], object], patience_seconds: float = PATIENCE_SECONDS
) -> T:
    """Ask until an answer is as wanted; gives that one, or fails with the last one."""
    deadline = time.monotonic() + patience_seconds
    while True:
        asked = ask()
        answer = cast("T", await asked if inspect.isawaitable(asked) else asked)
        if holds(answer):
            return answer
        _expect_more(deadline, answer)
        await asyncio.sleep(PAUSE_SECONDS)


def blocking_until(ask: Callable[[], T], holds: Callable[[T], object]) -> T:
    """Do the same in a test without a loop."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds(answer := ask()):
        _expect_more(deadline, answer)
        time.sleep(PAUSE_SECONDS)
    return answer


def _expect_more(deadline: float, answer: object) -> None:
    assert time.monotonic() < deadline, f"what was waited for did not come; the last answer: {answer!r}"
