"""The timers of all instances: those in memory, and those that parked ones left in the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping

from perdure import errors
from perdure.engine import alarm, instance, reader, records, running

DUE_TIMERS_LIMIT = 256

log = logging.getLogger("perdure.engine")


class Timers:
    """Fires timers that are due.

    Args:
        readers: Where stored timers are read.
        clock: Gives seconds since the epoch.
        live: The instances in memory, by id.
        broken: The ids of instances that wait to be rebuilt.
        find: Gives an instance, loaded if it is not in memory.
        take: Takes the turn that a timer caused.
        release: Lets go of an instance that nothing holds in memory.

    Attributes:
        left: Whether more stored timers are due than were fired; they follow the commit of those.
    """

    def __init__(
        self,
        readers: reader.Readers,
        clock: Callable[[], float],
        live: Mapping[str, instance.Live],
        broken: Container[str],
        find: Callable[[str], instance.Live | None],
        take: Callable[[instance.Turn | None], object],
        release: Callable[[instance.Live], None],
    ) -> None:
        self.left = False
        self._readers = readers
        self._clock = clock
        self._live = live
        self._broken = broken
        self._find = find
        self._take = take
        self._release = release
        self._alarm = alarm.Alarm(clock, self.ring)

    def arm(self, live: instance.Live, work: instance.Work) -> None:
        """Count on the timer of an instance in memory."""
        self._alarm.arm(live, work)

    def expect(self, fire_at: float) -> None:
        """Count on a stored timer."""
        self._alarm.expect(fire_at)

    def look(self) -> None:
        """Count on the first of all stored timers."""
        self._alarm.expect(self._next_stored(0))

    def stop(self) -> None:
        """Fire no more."""
        self._alarm.stop()

    def ring(self) -> None:
        """Fire what is due."""
        now = self._clock()
        self.left = False
        for live, work in self._alarm.due(now):
            if self._live.get(live.instance_id) is live:
                self._fire(live, work, now)
        if self._alarm.stored_due(now):
            try:
                self._fire_stored(now)
            except errors.HubError as error:
                log.error("%s", error)
                self._alarm.expect(now + running.LONGEST_RETRY_SECONDS)

    def _fire(self, live: instance.Live, work: instance.Work, now: float) -> None:
        if live.outstanding.get(work.key) is work:
            self._take(live.land(records.TIMER, work.key, None, None, now))

    def _fire_stored(self, now: float) -> None:
        due = self._readers.rows("select_due", (now, DUE_TIMERS_LIMIT))
        for _, instance_id in due:
            if instance_id in self._live or instance_id in self._broken:
                continue
            live = self._find(instance_id)
            if live is None:
                continue
            timers = [work for work in live.outstanding.values() if work.kind == "timer" and work.fire_at <= now]
            for work in sorted(timers, key=lambda work: work.fire_at):
                self._fire(live, work, now)
            self._release(live)
        # Those fired leave the table with their commit; whoever did not fit in comes after it.
        self.left = len(due) == DUE_TIMERS_LIMIT
        self._alarm.expect(now if self.left else self._next_stored(now))

    def _next_stored(self, after: float) -> float:
        found = self._readers.row("select_next_timer", (after,))
        return float("inf") if found is None else float(found[0])
