"""Who watches instances: those who wait for an end, those who follow events, and the host's hook for commits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from perdure.engine import instance, records, rows

OnCommit: TypeAlias = Callable[[str, str, Sequence[bytes], records.InstanceView | None], None]

log = logging.getLogger("perdure.engine")


class Watchers:
    """The watchers of a hub's instances; everything here runs on the engine's loop.

    Args:
        on_commit: Told of each commit with an instance's id and name, the events it emitted, and how it ended, if it
            did.
    """

    def __init__(self, on_commit: OnCommit | None) -> None:
        self._on_commit = on_commit
        self._waiters: dict[str, list[asyncio.Future[records.InstanceView]]] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return len(self._waiters) + len(self._followers)

    async def ended(self, instance_id: str, seconds: float) -> records.InstanceView | None:
        """Give an instance as soon as it has ended; None if it has not when the time is over."""
        future: asyncio.Future[records.InstanceView] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(instance_id, []).append(future)
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        finally:
            waiting = self._waiters.get(instance_id)
            if waiting is not None:
                with contextlib.suppress(ValueError):
                    waiting.remove(future)
                if not waiting:
                    del self._waiters[instance_id]

    @contextlib.contextmanager
    def following(self, instance_id: str) -> Iterator[asyncio.Event]:
        """Give what is set at each commit in which an instance emits something, or ends."""
        signal = asyncio.Event()
        followers = self._followers.setdefault(instance_id, set())
        followers.add(signal)
        try:
            yield signal
        finally:
            followers.discard(signal)
            if not followers and self._followers.get(instance_id) is followers:
                del self._followers[instance_id]

    def tell(self, turn: instance.Turn) -> None:
        """Tell of a turn that is durable and has ended its instance, or emitted something."""
        live = turn.live
        waiters = self._waiters.pop(live.instance_id, ()) if turn.ended is not None else ()
        view = rows.view(turn) if turn.ended is not None and (waiters or self._on_commit is not None) else None
        for future in waiters:
            if not future.done() and view is not None:
                future.set_result(view)
        if self._on_commit is not None:
            try:
                self._on_commit(live.instance_id, live.name, turn.emitted, view)
            except Exception:
                # A log line that goes wrong must not keep other instances of this commit from going on.
                log.exception("The hook for commits raised.")
        for signal in self._followers.get(live.instance_id, ()):
            signal.set()
