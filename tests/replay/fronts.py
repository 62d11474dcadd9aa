"""Front ends of a hub whose way to the engine a test may cut, as where one dies in the middle of what it does."""

from __future__ import annotations

from typing import Any, cast

from perdure import errors
from perdure.hosts.replay import client, runs
from perdure.payloads import records, store


class Engine:
    """A client of an engine that a test may cut off.

    Args:
        inner: What reaches the engine.

    Attributes:
        lost: Names of the calls that do nothing, and give None.
        refused: Names of the calls that fail.
        calls: Names of those that were made.
    """

    def __init__(self, inner: client.Client) -> None:
        self._inner = inner
        self.lost: set[str] = set()
        self.refused: set[str] = set()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*given: Any) -> Any:
            self.calls.append(name)
            if name in self.refused:
                raise errors.HubError("It was not possible to reach the engine.")
            return None if name in self.lost else await getattr(self._inner, name)(*given)

        return call


class Front:
    """A second front end of a host's hub.

    Args:
        host: The host.
    """

    def __init__(self, host: Any) -> None:
        first: runs.ReplayRuns = host.runs
        self.engine = Engine(first._engine)
        self.payloads: store.PayloadStore = first._payloads
        self.records: records.RecordStore = first._records
        self.runs = runs.ReplayRuns(cast(client.Client, self.engine), self.payloads, self.records, first._bounds)
