"""A run's host as a sub-workflow sees it: its keys and events bear the name of the step around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.workflow import events, naming, protocol


class Inside:
    """The host of the level around, under names of this one's own.

    Args:
        host: The host of the level around.
        key: The key of the step there.
        executor: Who wraps the sub-workflow.
    """

    def __init__(self, host: protocol.Host, key: str, executor: str) -> None:
        self._host = host
        self._key = key
        self._executor = executor
        self.instance_id = host.instance_id

    @property
    def now(self) -> float:
        """Seconds since the epoch at the last landing."""
        return self._host.now

    def activity(self, key: str, name: str, call: Any) -> None:
        """Run an activity."""
        self._host.activity(self._named(key), name, call)

    def child(self, key: str, name: str, instance_id: str, call: bytes) -> None:
        """Start a child orchestration."""
        self._host.child(self._named(key), name, instance_id, call)

    def timer(self, key: str, fire_at: float) -> None:
        """Land a timer."""
        self._host.timer(self._named(key), fire_at)

    def cancel(self, key: str) -> None:
        """Forget a timer or an activity."""
        self._host.cancel(self._named(key))

    def emit(self, event: bytes) -> None:
        """Append to the run's event log what shows of a sub-workflow."""
        shown = events.inside(event, self._executor)
        if shown is not None:
            self._host.emit(shown)

    def status(self, value: bytes | None) -> None:
        """Do nothing: the status is the run's."""

    def keep(self, state: Callable[[], bytes]) -> None:
        """Do nothing: the run is kept as a whole."""

    def _named(self, key: str) -> str:
        return f"{self._key}{naming.SEPARATOR}{key}"
