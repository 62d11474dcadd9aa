"""Front ends of a hub of which a test may cut each line, as where one dies in the middle of what it does."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from perdure import errors
from perdure.hosts.replay import client, runs
from perdure.payloads import records, store


class Line:
    """What a front end reaches the engine by, or a store, and a test may cut.

    Args:
        inner: What is reached.

    Attributes:
        lost: Names of the calls that do nothing, and give None.
        refused: Names of the calls that fail.
        held: What the calls in ``holds`` wait for; None if they do not.
        holds: Names of calls; those that write.
        calls: Names of those that were made.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._changed = asyncio.Condition()
        self.lost: set[str] = set()
        self.refused: set[str] = set()
        self.held: asyncio.Event | None = None
        self.holds = {"start", "start_again", "purge", "forget", "put_if_absent", "remove"}
        self.calls: list[str] = []

    async def reached(self, name: str, times: int = 1) -> None:
        """Wait until something was called so often."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: self.calls.count(name) >= times)

    def __getattr__(self, name: str) -> Any:
        async def call(*given: Any) -> Any:
            async with self._changed:
                self.calls.append(name)
                self._changed.notify_all()
            if name in self.refused:
                raise errors.HubError("The line was cut.")
            if self.held is not None and name in self.holds:
                await self.held.wait()
            return None if name in self.lost else await getattr(self._inner, name)(*given)

        return call


class Front:
    """A second front end of a host's hub.

    Args:
        host: The host.
    """

    def __init__(self, host: Any) -> None:
        first: runs.ReplayRuns = host.runs
        self.engine, self.payloads, self.records = Line(first._engine), Line(first._payloads), Line(first._records)
        self.runs = runs.ReplayRuns(
            cast(client.Client, self.engine),
            cast(store.PayloadStore, self.payloads),
            cast(records.RecordStore, self.records),
            first._bounds,
        )


def mute(host: Any) -> Front:
    """Give a front end that dies each time before it tells the engine what it has accepted."""
    front = Front(host)
    front.engine.lost.add("raise_event")
    return front
