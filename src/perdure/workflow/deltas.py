"""What a run, or a turn, says while it is saying it: heard by whoever listens right now, and kept nowhere."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

UNHEARD_LIMIT: Final = 4096
"""What may wait for one listener; of more the oldest is forgotten."""


class Listener(Generic[T]):
    """What one who listens has not taken yet."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._waiting: collections.deque[T] = collections.deque(maxlen=UNHEARD_LIMIT)

    def hear(self, said: T) -> None:
        """Note what was said."""
        self._waiting.append(said)
        self.news.set()

    def take(self) -> list[T]:
        """Give what was said since last time."""
        self.news.clear()
        taken = list(self._waiting)
        self._waiting.clear()
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
    def listen(self, who: Hashable) -> Iterator[Listener[T]]:
        """Listen to somebody for as long as this lasts."""
        listener: Listener[T] = Listener()
        listeners = self._listeners.setdefault(who, set())
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners and self._listeners.get(who) is listeners:
                del self._listeners[who]


async def among(recorded: AsyncIterator[R], listener: Listener[T]) -> AsyncGenerator[R | T]:
    """Give what is recorded, and among it what is said, before the record of it; ends with the records."""
    upcoming = asyncio.ensure_future(_next(recorded))
    news = asyncio.ensure_future(listener.news.wait())
    try:
        while True:
            await asyncio.wait((upcoming, news), return_when=asyncio.FIRST_COMPLETED)
            for said in listener.take():
                yield said
            if news.done():
                news = asyncio.ensure_future(listener.news.wait())
            if upcoming.done():
                found = upcoming.result()
                if found is None:
                    return
                yield found[0]
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
