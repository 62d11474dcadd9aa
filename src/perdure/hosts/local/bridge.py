"""Runs that live on the engine's loop, offered to another one: the web server's."""

from __future__ import annotations

import asyncio
import collections
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from perdure import errors
from perdure.hosts.local import mailbox
from perdure.payloads import refs
from perdure.routes import runs
from perdure.workflow import options

T = TypeVar("T")

FOLLOW_WINDOW = 256
"""Items that may wait between the loops before the engine's side pauses."""

HEALTH_PATIENCE_SECONDS = 0.25
"""How long the engine's loop may take to say how it is before its last answer is given: user code may block it."""


class Bridge:
    """The way from other loops to the engine's.

    Args:
        loop: The engine's loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._there = mailbox.Mailbox(loop)
        self._homes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, mailbox.Mailbox] = weakref.WeakKeyDictionary()

    async def _call(self, make: Callable[[], Coroutine[Any, Any, T]], *, cancels: bool = True) -> T:
        """Run a coroutine there and give what it gives; cancels it when the caller is, unless told not to."""
        call = _Call(make, self._home())
        if not self._there.post(call.begin):
            raise _stopping()
        try:
            return await call.answer
        except asyncio.CancelledError:
            if cancels:
                self._there.post(call.cancel)
            raise

    async def _stream(self, make: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T]:
        """Give what an iterator gives there, as it comes; that side pauses while nobody takes it."""
        pump = _Pump(self._there, self._home(), make)
        try:
            if not self._there.post(pump.begin):
                raise _stopping()
            while True:
                batch = await pump.take()
                if not batch:
                    return
                for item in batch:
                    yield item
        finally:
            self._there.post(pump.cancel)

    def _home(self) -> mailbox.Mailbox:
        loop = asyncio.get_running_loop()
        found = self._homes.get(loop)
        if found is None:
            found = self._homes[loop] = mailbox.Mailbox(loop)
        return found


class BridgedRuns(Bridge):
    """Runs of another loop. Its methods are for the loop that awaits them; several loops may.

    Args:
        inner: The runs, touched on ``loop`` only.
        loop: The engine's loop.
    """

    def __init__(self, inner: runs.Runs, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._inner = inner
        self._trouble: str | None = None

    # What changes something is not abandoned when the client leaves: it may be half done.

    async def start(
        self,
        workflow: str,
        run_id: str,
        value: refs.Ref,
        blobs: Sequence[refs.Blob] = (),
        *,
        given: options.RunOptions = options.NONE,
        fresh: bool = False,
        wait: float = 0.0,
    ) -> tuple[runs.Run, bool]:
        """Start a run unless the id exists, and perhaps wait for its end."""

        def start() -> Coroutine[Any, Any, tuple[runs.Run, bool]]:
            return self._inner.start(workflow, run_id, value, blobs, given=given, fresh=fresh)

        if wait <= 0:
            return await self._call(start, cancels=False)
        return await self._call(lambda: self._start_and_wait(start, options.digest(value, given), wait))

    async def _start_and_wait(
        self, start: Callable[[], Coroutine[Any, Any, tuple[runs.Run, bool]]], digest: bytes, wait: float
    ) -> tuple[runs.Run, bool]:
        """Start and wait with one crossing of the loops; who leaves stops the waiting, never the starting."""
        run, new = await asyncio.shield(asyncio.create_task(start()))
        if run.status not in runs.ENDED and run.input_digest == digest:
            waited = await self._inner.wait(run.id, wait) or run
            # Where what is waited for does not say its start, the start has said it.
            run = waited if waited.input_digest else msgspec.structs.replace(waited, input_digest=run.input_digest)
        return run, new

    async def answer(self, run_id: str, request_id: str, body: bytes, content_type: str) -> runs.Accepted:
        """Answer an open request."""
        return await self._call(lambda: self._inner.answer(run_id, request_id, body, content_type), cancels=False)

    async def withdraw(self, run_id: str, request_id: str) -> runs.Accepted:
        """Withdraw an open request."""
        return await self._call(lambda: self._inner.withdraw(run_id, request_id), cancels=False)

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run as Terminated."""
        return await self._call(lambda: self._inner.terminate(run_id, reason), cancels=False)

    async def rewind(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed."""
        return await self._call(lambda: self._inner.rewind(run_id), cancels=False)

    async def purge(self, run_id: str) -> bool:
        """Delete an ended run."""
        return await self._call(lambda: self._inner.purge(run_id), cancels=False)

    async def get(self, run_id: str) -> runs.Run | None:
        """Give a run."""
        return await self._call(lambda: self._inner.get(run_id))

    async def wait(self, run_id: str, seconds: float) -> runs.Run | None:
        """Give a run when it has ended, or as it stands when the time is over."""
        return await self._call(lambda: self._inner.wait(run_id, seconds))

    async def query(self, query: runs.Query) -> runs.Page:
        """List runs."""
        return await self._call(lambda: self._inner.query(query))

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[runs.Event]:
        """Give a page of a run's events."""
        return await self._call(lambda: self._inner.events(run_id, after, limit))

    def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[runs.Event]:
        """Give a run's events as they come."""
        return self._stream(lambda: self._inner.follow(run_id, after, live=live))

    async def trouble(self) -> str | None:
        """Say what keeps the host from taking work; what it said last, while user code blocks the engine's loop."""
        try:
            async with asyncio.timeout(HEALTH_PATIENCE_SECONDS):
                self._trouble = await self._call(self._inner.trouble)
        except TimeoutError:
            return self._trouble
        except errors.HubError as error:
            return str(error)
        return self._trouble


class _Call(Generic[T]):
    """One call on the engine's loop, its answer awaited on the caller's."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], home: mailbox.Mailbox) -> None:
        self._make = make
        self._home = home
        self._task: asyncio.Task[T] | None = None
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self._task = asyncio.create_task(self._make())
        self._task.add_done_callback(self._landed)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _landed(self, task: asyncio.Task[T]) -> None:
        # Retrieved here whoever still listens: a call whose client left must not be reported as unheard.
        failure = None if task.cancelled() else task.exception()
        self._home.post(self._answer, task, failure)

    def _answer(self, task: asyncio.Task[T], failure: BaseException | None) -> None:
        if self.answer.done():
            return
        if task.cancelled():
            self.answer.set_exception(_stopping())
        elif failure is not None:
            self.answer.set_exception(failure)
        else:
            self.answer.set_result(task.result())


class _Pump(Generic[T]):
    """Carries an iterator's items from the engine's loop to the caller's, in batches, with backpressure."""

    def __init__(self, there: mailbox.Mailbox, home: mailbox.Mailbox, source: Callable[[], AsyncIterator[T]]) -> None:
        self._there = there
        self._home = home
        self._source = source
        self._items: collections.deque[T] = collections.deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._told = False
        self._failure: BaseException | None = None
        self._over = False
        self._task: asyncio.Task[None] | None = None

    # On the engine's loop.

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        source = self._source()
        try:
            async for item in source:
                self._items.append(item)
                self._tell()
                while len(self._items) >= FOLLOW_WINDOW:
                    self._room.clear()
                    if len(self._items) >= FOLLOW_WINDOW:
                        await self._room.wait()
        except asyncio.CancelledError:
            self._failure = _stopping()
        except Exception as error:
            self._failure = error
        finally:
            self._over = True
            self._tell()
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._home.post(self._news.set)

    # On the caller's loop.

    async def take(self) -> list[T]:
        """Give what has come, waiting for at least one item; empty at the end."""
        while True:
            # Cleared before looking, so that what comes after the look tells again.
            self._news.clear()
            self._told = False
            over = self._over
            batch = [self._items.popleft() for _ in range(len(self._items))]
            if batch:
                self._there.post(self._room.set)
                return batch
            if over:
                if self._failure is not None:
                    raise self._failure
                return []
            await self._news.wait()


def _stopping() -> errors.HubError:
    return errors.HubError(runs.STOPPING, "Ask again once it is up.")
