"""Timers of live instances, and one alarm for the earliest of all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Iterator

from perdure.engine import instance

LONGEST_SLEEP_SECONDS = 30.0
"""The wall clock is looked at this often, so that a changed clock or a slept machine is noticed."""


class Alarm:
    """Rings once the earliest time that was asked for has come."""

    def __init__(self, clock: Callable[[], float], ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._ring = ring
        self._heap: list[tuple[float, int, instance.Live, instance.Work]] = []
        self._count = itertools.count()
        self._stored = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._at = math.inf

    def arm(self, live: instance.Live, work: instance.Work) -> None:
        """Count on a live instance's timer."""
        heapq.heappush(self._heap, (work.fire_at, next(self._count), live, work))
        self._set()

    def expect(self, fire_at: float) -> None:
        """Count on a stored timer."""
        self._stored = min(self._stored, fire_at)
        self._set()

    def stored_due(self, now: float) -> bool:
        """Say whether a stored timer is due; the caller then tells the next one by ``expect``."""
        if self._stored > now:
            return False
        self._stored = math.inf
        return True

    def due(self, now: float) -> Iterator[tuple[instance.Live, instance.Work]]:
        """Take out the timers of live instances that are due."""
        while self._heap and self._heap[0][0] <= now:
            _, _, live, work = heapq.heappop(self._heap)
            yield live, work

    def stop(self) -> None:
        """Never ring again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._at = -math.inf

    def _set(self) -> None:
        earliest = min(self._stored, self._heap[0][0] if self._heap else math.inf)
        if earliest >= self._at:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._at = earliest
        delay = min(max(earliest - self._clock(), 0.0), LONGEST_SLEEP_SECONDS)
        self._handle = self._loop.call_later(delay, self._wake)

    def _wake(self) -> None:
        self._handle = None
        self._at = math.inf
        self._ring()
        self._set()
