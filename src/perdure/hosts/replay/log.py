"""The event log of a run, as records: each holds a page of events and bears the id of the first in its name.

Pages follow each other without a gap, so a reader goes from page to page and stops where the next is not there yet.
A page is written once, by whoever comes first; whoever comes later finds it there and has nothing to do.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from perdure.hosts.replay import wire
from perdure.payloads import records

PREFIX: Final = "event/"
PARALLEL: Final = 32


class Event(NamedTuple):
    """One event: its id, when it was emitted, and what it says."""

    id: int
    time: float
    data: bytes


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A record of the log; ``sealed`` says that nothing follows, whatever may be written later."""

    events: tuple[tuple[float, bytes], ...]
    sealed: bool = False


class Log:
    """The event logs of runs.

    Args:
        store: Where the records are.
    """

    def __init__(self, store: records.RecordStore) -> None:
        self._store = store

    async def write(self, run: str, pages: Iterable[wire.Page]) -> None:
        """Write pages; durable when this returns.

        Raises:
            HubError: If they could not be made durable.
        """
        bodies = [(_name(page.first), wire.encode(_Body(page.events))) for page in pages]
        if len(bodies) == 1:
            await self._store.put_if_absent(run, *bodies[0])
            return
        await asyncio.gather(*(self._store.put_if_absent(run, name, body) for name, body in bodies))

    async def read(self, run: str, after: int, limit: int, tail: Sequence[wire.Page] = ()) -> list[Event]:
        """Give up to ``limit`` events with ids above ``after``.

        Args:
            run: The run.
            after: The id before the first.
            limit: How many.
            tail: Pages that a run left that may not be in the log.
        """
        names = await self._store.names(run, PREFIX)
        firsts = [int(name[len(PREFIX) :]) for name in names]
        start = max(bisect.bisect_right(firsts, after + 1) - 1, 0)
        found: list[Event] = []
        expected = firsts[start] if firsts and firsts[start] <= after + 1 else 1
        for begin in range(start, len(names), PARALLEL):
            bodies = await asyncio.gather(*(self._store.get(run, name) for name in names[begin : begin + PARALLEL]))
            for first, body in zip(firsts[begin : begin + PARALLEL], bodies, strict=True):
                if first > expected:
                    # Written out of turn: what comes before it is still on its way.
                    expected = _fill(found, tail, expected, after)
                if first > expected or body is None:
                    return found[:limit]
                page = wire.decode(body, _Body)
                expected = _take(found, page.events[expected - first :], expected, after)
                if page.sealed or len(found) >= limit:
                    return found[:limit]
        _fill(found, tail, expected, after)
        return found[:limit]

    async def latest(
        self, run: str, after: int, told: tuple[Sequence[wire.Page], int], limit: int = 1000
    ) -> list[Event]:
        """Give events; the log is not asked for what the run itself says, nor for what it says is not there yet.

        Args:
            run: The run.
            after: The id before the first.
            told: The pages that the run shows, and the id that its next event will have, 0 if that is not known.
            limit: How many.
        """
        pages, following = told
        if 0 < following <= after + 1:
            return []
        found = of(pages, after)
        if found and found[-1].id + 1 == following:
            return found[:limit]
        return await self.read(run, after, limit, pages)

    async def seal(self, run: str, time: float, event: bytes, tail: Sequence[wire.Page] = ()) -> None:
        """Add the last event to the log of a run that was ended from outside; a log takes one.

        Args:
            run: The run.
            time: When it ended.
            event: The event.
            tail: Pages that the run left that may not be in the log.
        """
        body = wire.encode(_Body(((time, event),), True))
        while True:
            names = await self._store.names(run, PREFIX)
            last = await self._store.get(run, names[-1]) if names else None
            if last is not None and wire.decode(last, _Body).sealed:
                return
            await self.write(run, tail)
            # Where a page is missing, what is after it was never to be seen: the end takes its place.
            events = await self.read(run, 0, 1 << 62)
            if await self._store.put_if_absent(run, _name(events[-1].id + 1 if events else 1), body):
                return


def _take(found: list[Event], events: Sequence[tuple[float, bytes]], first: int, after: int) -> int:
    found += [Event(number, *event) for number, event in enumerate(events, first) if number > after]
    return first + len(events)


def _fill(found: list[Event], tail: Sequence[wire.Page], expected: int, after: int) -> int:
    for page in sorted(tail, key=lambda page: page.first):
        # The log may have the beginning of what was one page when it was told.
        if page.first <= expected < page.first + len(page.events):
            expected = _take(found, page.events[expected - page.first :], expected, after)
    return expected


def of(tail: Sequence[wire.Page], after: int) -> list[Event]:
    """Give the events with ids above ``after`` that follow it in pages that are at hand."""
    found: list[Event] = []
    _fill(found, tail, after + 1, after)
    return found


def _name(first: int) -> str:
    return f"{PREFIX}{first:012d}"
