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

AT_ONCE: Final = 1000
"""How many events somebody who follows a run is given at once."""

CHAINED: Final = 4
"""So many pages are read one after another, each from where the one before ended; more are listed first."""

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

    def reader(self, run: str, after: int = 0) -> Reader:
        """Begin to read the log of a run after the event of this id."""
        return Reader(self._store, run, after)

    async def read(self, run: str, after: int, limit: int, tail: Sequence[wire.Page] = ()) -> list[Event]:
        """Give up to ``limit`` events with ids above ``after``.

        Args:
            run: The run.
            after: The id before the first.
            limit: How many.
            tail: Pages that a run left that may not be in the log.
        """
        return await self.reader(run, after).read(limit, tail)

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


class Reader:
    """Reads the log of one run on and on. It keeps its place, so that each look costs what is new.

    Args:
        store: Where the records are.
        run: The run.
        after: The id of the last event that was read already.
    """

    def __init__(self, store: records.RecordStore, run: str, after: int = 0) -> None:
        self._store = store
        self._run = run
        self._after = after
        # Where the page begins from which on is read. A page most often ends where somebody stopped to read.
        self._place = after + 1
        self._sure = after == 0

    async def read(self, limit: int, tail: Sequence[wire.Page] = (), following: int = 0) -> list[Event]:
        """Give the next events; the log is not asked for what the run itself says, nor for what is not there yet.

        Args:
            limit: How many.
            tail: Pages that the run shows, or left, that may not be in the log.
            following: The id that its next event will have; 0 if that is not known.
        """
        self._settle(tail)
        if 0 < following <= self._after + 1:
            return []
        pages = _Pages(self._store, self._run)
        found: list[Event] = []
        expected, filled = self._place, False
        while len(found) < limit and expected != following:
            rest: list[Event] = []
            if following == _fill(rest, tail, max(expected, self._after + 1), self._after):
                found += rest
                break
            page = await pages.get(expected)
            if page is None and not self._sure:
                # Somebody stopped in the middle of a page, or what comes next is not there.
                expected = self._place = await pages.before(expected)
                self._sure = True
            elif page is not None:
                self._sure = True
                expected = _take(found, page.events, expected, self._after)
                if not filled and len(found) <= limit:
                    self._place = expected
                if page.sealed:
                    break
            else:
                # Pages are written in any order: what is still on its way the run may have told.
                before, filled = expected, True
                expected = _fill(found, tail, expected, self._after)
                if expected == before:
                    break
        return self._given(found, limit, tail)

    def _given(self, found: list[Event], limit: int, tail: Sequence[wire.Page]) -> list[Event]:
        given = found[:limit]
        if given:
            self._after = given[-1].id
            self._settle(tail)
        return given

    def _settle(self, tail: Sequence[wire.Page]) -> None:
        """Go on from a page that a run shows, which begins in the log where it begins there."""
        for page in tail:
            within = page.first <= self._after + 1 <= page.first + len(page.events)
            if within and (page.first > self._place or not self._sure):
                self._place, self._sure = page.first, True


class _Pages:
    """The pages of a log, by the id of their first event."""

    def __init__(self, store: records.RecordStore, run: str) -> None:
        self._store = store
        self._run = run
        self._chained = 0
        self._listed: list[int] | None = None
        self._read: dict[int, _Body] = {}

    async def get(self, first: int) -> _Body | None:
        """Give a page, or None."""
        if self._listed is None and self._chained < CHAINED:
            self._chained += 1
            return await self._one(first)
        if first not in self._read:
            listed = await self._all() if self._listed is None else self._listed
            start = bisect.bisect_left(listed, first)
            if listed[start : start + 1] == [first]:
                wanted = listed[start : start + PARALLEL]
                bodies = await asyncio.gather(*map(self._one, wanted))
                self._read = {number: body for number, body in zip(wanted, bodies, strict=True) if body is not None}
        return self._read.get(first)

    async def before(self, id: int) -> int:
        """Give the first event of the page that has this one; of the whole log if there is none."""
        listed = await self._all()
        place = bisect.bisect_right(listed, id)
        return listed[place - 1] if place else 1

    async def _all(self) -> list[int]:
        names = await self._store.names(self._run, PREFIX)
        self._listed = [int(name[len(PREFIX) :]) for name in names]
        return self._listed

    async def _one(self, first: int) -> _Body | None:
        body = await self._store.get(self._run, _name(first))
        return None if body is None else wire.decode(body, _Body)


def _take(found: list[Event], events: Sequence[tuple[float, bytes]], first: int, after: int) -> int:
    found += [Event(number, *event) for number, event in enumerate(events, first) if number > after]
    return first + len(events)


def _fill(found: list[Event], tail: Sequence[wire.Page], expected: int, after: int) -> int:
    for page in sorted(tail, key=lambda page: page.first):
        # The log may have the beginning of what was one page when it was told.
        if page.first <= expected < page.first + len(page.events):
            expected = _take(found, page.events[expected - page.first :], expected, after)
    return expected


def _name(first: int) -> str:
    return f"{PREFIX}{first:012d}"
