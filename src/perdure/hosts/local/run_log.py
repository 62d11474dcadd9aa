"""What a local host tells of its runs as they go on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Protocol

from perdure.routes import runs
from perdure.workflow import events, hosted

FOR_PEOPLE: Final = frozenset(
    {
        "started",
        "superstep_started",
        "executor_invoked",
        "executor_failed",
        "warning",
        "error",
        "parked",
        "completed",
        "failed",
        "terminated",
    }
)
"""The types of events that people read."""


class Log(Protocol):
    """Where a host tells what its runs do."""

    @property
    def as_json(self) -> bool:
        """Whether it wants every event, not only those that people read."""
        ...

    def event(self, run_id: str, workflow: str, event: runs.Event) -> None:
        """Tell of an event of a run."""
        ...


def tell(log: Log, bound: hosted.Bound, run_id: str, emitted: Iterable[bytes]) -> None:
    """Tell a log of the events that a run has emitted."""
    now = time.time()
    for data in emitted:
        recorded = events.decode(data)
        if log.as_json or recorded.type in FOR_PEOPLE:
            fields = events.data(recorded, bound.values_of(run_id).plain)
            log.event(run_id, bound.hosted.name, runs.Event(0, recorded.type, now, fields))
