"""Lists of orchestrations, newest first, from an engine that lists in an order of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from perdure.hosts.replay import client
from perdure.routes import cursors

WINDOWS_SECONDS: Final = (900.0, 7_200.0, 86_400.0, 14 * 86_400.0)
"""How far back a list looks at first: an engine lists in an order of its own, so that what it gives is sorted here."""


async def newest(
    engine: client.Client,
    fits: Callable[[client.State], bool],
    prefix: str,
    cursor: str | None,
    limit: int,
    *,
    created_from: float | None = None,
    created_to: float | None = None,
) -> tuple[list[client.State], str | None]:
    """Give a page of orchestrations and where the next one starts (None at the end).

    Args:
        engine: The engine's client.
        fits: Says which are wanted.
        prefix: What their ids begin with.
        cursor: Where the page before ended.
        limit: How many.
        created_from: The oldest that are wanted, seconds since the epoch.
        created_to: Up to when they are wanted.

    Raises:
        UsageError: If the cursor is none.
    """
    before = None if cursor is None else cursors.decode(cursor)
    last = time.time() + 60.0 if before is None else before[0] + 0.001
    if created_to is not None:
        last = min(last, created_to)
    found: list[client.State] = []
    for since in _windows(last, created_from or 0.0):
        fitting = [state for state in await engine.list(since, last, prefix) if fits(state)]
        found = sorted(fitting, key=_rank, reverse=True)
        if before is not None:
            found = [state for state in found if _rank(state) < before]
        if len(found) > limit:
            break
    page = found[:limit]
    return page, cursors.encode(_rank(page[-1])) if len(found) > limit else None


def _windows(last: float, oldest: float) -> Iterator[float]:
    """Beginnings of ever longer stretches of time that end at ``last``."""
    for seconds in WINDOWS_SECONDS:
        if last - seconds > oldest:
            yield last - seconds
    yield oldest


def _rank(state: client.State) -> tuple[float, str]:
    return state.created, state.id
