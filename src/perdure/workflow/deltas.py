"""What a run, or a turn, says while it is saying it: heard by whoever listens right now, and kept nowhere."""

from __future__ import annotations

import asyncio
import collections
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

UNHEARD_LIMIT: Final = 4096
"""What may wait for one listener; of more the oldest is forgotten."""


class Listener(Generic[T]):
    """What one who listens has not taken yet.

    Args:
        place: Gives the number of the record that was the last one at this moment.
    """

    def __init__(self, place: Callable[[], int]) -> None:
        self.news = asyncio.Event()
        self._place = place
        self._waiting: collections.deque[tuple[int, T]] = collections.deque(maxlen=UNHEARD_LIMIT)

    def hear(self, said: T) -> None:
        """Note what was said, and after which record."""
        self._waiting.append((self._place(), said))
        self.news.set()

    def take(self, until: float = math.inf) -> list[T]:
        """Give what was said since last time, up to the record after this one."""
        self.news.clear()
        taken: list[T] = []
        while self._waiting and self._waiting[0][0] <= until:
            taken.append(self._waiting.popleft()[1])
        return taken


class Deltas(Generic[T]):
    """Those who listen, by whom they listen to; touched on one loop only."""

    def __init__(self) -> None:
        self._listeners: dict[Hashable, set[Listener[T]]] = {}

    def say(self, who: Hashable, make: Callable[[], T]) -> None:
        """Tell those who listen to somebody; where nobody does, nothing is made."""
        listeners = self._listeners.get(who)
        if listeners:
            said = make()
            for listener in listeners:
                listener.hear(said)

    @contextmanager
    def listen(self, who: Hashable, place: Callable[[], int] = lambda: 0) -> Iterator[Listener[T]]:
        """Listen to somebody for as long as this lasts.

        Args:
            who: Who.
            place: Gives the number of the last record of it, at the moment at which something is said.
        """
        listener: Listener[T] = Listener(place)
        listeners = self._listeners.setdefault(who, set())
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners and self._listeners.get(who) is listeners:
                del self._listeners[who]


async def among(
    recorded: AsyncIterator[R], listener: Listener[T], number: Callable[[R], int], given: int = 0
) -> AsyncGenerator[R | T]:
    """Give what is recorded, and in its place among it what is said; ends with the records.

    Args:
        recorded: The records, in the order of their numbers. Who comes late gets those of long ago first.
        listener: Who heard what is said.
        number: Gives the number of a record.
        given: The number of the record that was given last.
    """
    upcoming = asyncio.ensure_future(_next(recorded))
    news = asyncio.ensure_future(listener.news.wait())
    try:
        while True:
            await asyncio.wait((upcoming, news), return_when=asyncio.FIRST_COMPLETED)
            found = upcoming.result() if upcoming.done() else None
            # What was said after a record that is still to be given waits for it.
            for said in listener.take(given if found is None else number(found[0]) - 1):
                yield said
            if news.done():
                news = asyncio.ensure_future(listener.news.wait())
            if upcoming.done():
                if found is None:
                    return
                yield found[0]
                given = number(found[0])
                for said in listener.take(given):
                    yield said
                upcoming = asyncio.ensure_future(_next(recorded))
    finally:
        news.cancel()
        if not upcoming.done():
            upcoming.cancel()
            await asyncio.wait((upcoming,))
        close = getattr(recorded, "aclose", None)
        if close is not None:
            await close()


async def _next(source: AsyncIterator[R]) -> tuple[R] | None:
    try:
        return (await anext(source),)
    except StopAsyncIteration:
        return None
