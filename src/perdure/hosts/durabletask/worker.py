"""An app as a worker of a task hub: turns of its orchestrations, and their activities on this process's loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Self

from perdure import errors
from perdure.hosts.durabletask import sdk
from perdure.hosts.replay import activities, life, wire
from perdure.payloads import owners, store
from perdure.payloads.codec import cache
from perdure.workflow import protocol

CALLS_AT_HAND_BYTES = 16 * 1024 * 1024


SHOWN_BYTES: Final = 2048
"""Events up to this size stand in the status: it travels with every turn, and a record that is saved is a write to the
store, which costs more than the turn's bytes."""


class Worker:
    """Runs orchestrators and activities for a scheduler; activities on the loop that it was made on.

    Args:
        where: The scheduler.
        orchestrators: By durable name.
        work: Does the activities.
        names: Durable names of the activities.
        payloads: Where the calls of orchestrations are that are too large to travel.
        begun: Called, on this loop, when the worker begins; it may go on until it is given up as the worker stops.
        ended: Called, on this loop, with the id of an orchestration whose last turn was here.
        close: Called when the worker has stopped.
        credential: For a secure scheduler.
        at_once: How many activities run at a time.
    """

    def __init__(
        self,
        where: sdk.Address,
        orchestrators: Mapping[str, protocol.Orchestrator],
        work: activities.Activities,
        names: list[str],
        payloads: store.PayloadStore,
        *,
        begun: Callable[[], Coroutine[Any, Any, None]] | None = None,
        ended: Callable[[str], Coroutine[Any, Any, None]] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        credential: Any = None,
        at_once: int = sdk.ACTIVITIES_AT_ONCE,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._orchestrators = orchestrators
        self._work = work
        self._payloads = payloads
        self._calls = cache.DecodeCache(CALLS_AT_HAND_BYTES)
        self._begun = begun
        self._beginning: asyncio.Task[None] | None = None
        self._ended = ended
        self._close = close
        self._endings: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self._leaving = False
        self._running: set[concurrent.futures.Future[wire.Reply]] = set()
        self._inner = sdk.Worker(
            where,
            {name: self._life(orchestrator) for name, orchestrator in orchestrators.items()},
            {name: self._act(name) for name in (*names, wire.NOTE)},
            ended=self._forget,
            credential=credential,
            at_once=at_once,
        )

    def start(self) -> Self:
        """Take work items from here on."""
        self._inner.start()
        if self._begun is not None:
            self._beginning = self._loop.create_task(self._begun())
        return self

    async def stop(self, seconds: float | None = None) -> None:
        """Take no more, and wait for what runs, for so long; what is left then is given back."""
        stopping = asyncio.create_task(asyncio.to_thread(self._inner.stop))
        await asyncio.wait([stopping], timeout=seconds)
        await self.let_go()
        await stopping

    def stop_now(self) -> None:
        """Take no more, and wait for what runs, on this thread."""
        self._inner.stop()

    async def let_go(self) -> None:
        """Give back the activities that run or were still to begin, and close what stays in memory."""
        with self._lock:
            self._leaving = True
            running = list(self._running)
        for future in running:
            future.cancel()
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.wait([self._beginning])
        await asyncio.to_thread(self._inner.let_go)
        await asyncio.gather(*self._endings)
        close, self._close, self._ended = self._close, None, None
        if close is not None:
            await close()

    def _forget(self, run: str) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed: so is all that was to be let go of.
            self._loop.call_soon_threadsafe(self._over, run)

    def _over(self, run: str) -> None:
        self._work.forget(run)
        if self._ended is not None:
            task = self._loop.create_task(self._ended(run))
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    def _life(self, orchestrator: protocol.Orchestrator) -> sdk.Make:
        def make(instance_id: str, start: wire.Start, now: float) -> life.Life:
            owner = owners.of(instance_id, start.incarnation)
            call = self._call(owner, start.stored) if start.stored else start.call
            return life.Life(orchestrator, instance_id, start, call, now, shown_bytes=SHOWN_BYTES)

        return make

    def _call(self, owner: str, digest: bytes) -> bytes:
        """Read what an orchestration was started with: it never changes, so a replay reads the same.

        Raises:
            Abandoned: If the store cannot be had now.
            PayloadMissing: If it is not there.
        """
        found: bytes | None = self._calls.get(digest)
        if found is None:
            try:
                found = self._payloads.read(owner, digest)
            except errors.HubError as error:
                raise sdk.Abandoned(str(error)) from error
            self._calls.put(digest, found, len(found))
        return found

    def _act(self, name: str) -> sdk.Act:
        def act(instance_id: str, task: wire.Task) -> wire.Reply:
            with self._lock:
                # One that comes once all are given back would be waited for by nobody, and the stop wait for it.
                if self._leaving:
                    raise sdk.Abandoned(f"The worker stops before it does {name!r}.")
                future = asyncio.run_coroutine_threadsafe(self._work(instance_id, name, task), self._loop)
                self._running.add(future)
            try:
                return future.result()
            except concurrent.futures.CancelledError as error:
                raise sdk.Abandoned(f"The worker stops while it does {name!r}.") from error
            finally:
                with self._lock:
                    self._running.discard(future)

        return act
