"""Instances whose commit failed: they are read again until that goes well, and lose nothing that arrives meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from perdure import errors
from perdure.engine import running

log = logging.getLogger("perdure.engine")


class Broken:
    """The instances that wait to be rebuilt.

    Args:
        rebuild: Rebuilds one, which takes it from here.
        rebuilt: Called when all are.
    """

    def __init__(self, rebuild: Callable[[str], None], rebuilt: Callable[[], None]) -> None:
        self._rebuild = rebuild
        self._rebuilt = rebuilt
        self._arrivals: dict[str, list[running.Arrival]] = {}
        self._loop = asyncio.get_running_loop()
        self._retry_seconds = running.FIRST_RETRY_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self._arrivals

    def add(self, instance_id: str, arrival: running.Arrival | None) -> None:
        """Put in an instance, with what arrived for it in the commit that failed."""
        arrivals = self._arrivals.setdefault(instance_id, [])
        if arrival is not None:
            arrivals.append(arrival)

    def take(self, instance_id: str) -> Sequence[running.Arrival]:
        """Take out an instance; gives what arrived for it."""
        return self._arrivals.pop(instance_id, ())

    def rebuild_later(self) -> None:
        """Rebuild all after a while, which is longer each time until a commit succeeds."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._retry_seconds, self._rebuild_all)
            self._retry_seconds = min(self._retry_seconds * 2, running.LONGEST_RETRY_SECONDS)

    def succeeded(self) -> None:
        """Take note that commits succeed."""
        self._retry_seconds = running.FIRST_RETRY_SECONDS

    def stop(self) -> None:
        """Rebuild nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _rebuild_all(self) -> None:
        self._timer = None
        try:
            for instance_id in list(self._arrivals):
                self._rebuild(instance_id)
            self._rebuilt()
        except errors.HubError as error:
            log.error("%s", error)
            self.rebuild_later()
