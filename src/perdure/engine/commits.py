"""Commits: what instances produced since the last one goes to disk together, and is announced after that."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence, Sized
from typing import Any

from perdure.engine import batch, hub, instance, writer
from perdure.workflow import protocol


class Commits:
    """The commits of a hub; everything here runs on the engine's loop, the writing on the writer's thread.

    Args:
        home: The hub.
        running: What runs meanwhile; where nothing does, and nothing else is going on, the loop commits by itself.
        announce: Given each turn that is durable, in order.
        succeeded: Called after each commit.
        failed: Called with what made commits fail; it is to call ``drop``.
    """

    def __init__(
        self,
        home: hub.Hub,
        running: Sized,
        announce: Callable[[instance.Turn], None],
        succeeded: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._running = running
        self._announce = announce
        self._succeeded = succeeded
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._batch = batch.Batch()
        self._inflight: collections.deque[batch.Batch] = collections.deque()
        self._flushing = False
        self._closed = False
        self._writer: writer.Writer[batch.Batch] = writer.Writer(
            "perdure-writer", home.writer, batch.apply, self._done, batch.single
        )

    def add(self, turn: instance.Turn) -> None:
        """Put a turn into the next commit; call ``soon`` when those that belong to it are there too."""
        turn.live.uncommitted += 1
        outcome = None if turn.arrival is None else turn.arrival.outcome
        self._batch.add(turn, outcome if isinstance(outcome, protocol.Outcome) else None)

    def put(self, change: Callable[[batch.Batch], None]) -> None:
        """Put something else than a turn into the next commit."""
        change(self._batch)
        self.soon()

    async def committed(self, answer: Any = None) -> Any:
        """Wait until everything so far is durable, and give ``answer``.

        Raises:
            HubError: If it could not be made durable: none of it happened.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._batch.futures.append((future, answer))
        self.soon()
        return await future

    def soon(self) -> None:
        """Commit once the loop has done what it is at."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def drop(self, reason: Exception) -> list[instance.Turn]:
        """Give up what is not durable, tell its waiters the reason, and write again; gives the turns that are lost."""
        doomed = [*self._inflight, self._batch]
        self._inflight.clear()
        self._batch = batch.Batch()
        for lost in doomed:
            lost.settled = True
            for future, _ in lost.futures:
                if not future.done():
                    future.set_exception(reason)
        self._writer.resume()
        return [turn for lost in doomed for turn in lost.turns]

    async def close(self) -> None:
        """Commit what is there, and end the writer."""
        self._flush()
        await self._writer.close()

    async def crash(self) -> None:
        """End the writer; what it has not begun is not committed, and nobody is told of anything any more."""
        self._closed = True
        await self._writer.crash()

    def forget(self) -> None:
        """Leave whoever waits for a commit that will not come."""
        for item in (*self._inflight, self._batch):
            for future, _ in item.futures:
                future.cancel()

    def _flush(self) -> None:
        self._flushing = False
        full = self._batch
        if full.turns or full.futures or not full.lean:
            self._batch = batch.Batch()
            alone = not self._inflight and not self._running and not full.payloads
            self._inflight.append(full)
            if not (alone and self._writer.commit_here([full])):
                self._writer.put(full)

    def _done(self, batches: Sequence[batch.Batch], error: BaseException | None) -> None:
        if self._closed or batches[0].settled:
            return
        if error is not None:
            self._failed(error)
            return
        for done in batches:
            self._inflight.popleft()
            done.settled = True
            for turn in done.turns:
                self._announce(turn)
            for future, answer in done.futures:
                if not future.done():
                    future.set_result(answer)
        self._succeeded()
