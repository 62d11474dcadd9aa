"""Event loops in threads of their own, reached from any thread and any other loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

Last = Callable[[], Coroutine[Any, Any, None]]


class Closed(Exception):
    """The loop was closed before it had done what was asked."""


class Loop:
    """An event loop in a thread of its own, begun when it is first needed.

    Args:
        name: Of its thread.
        given: A loop that runs already, to be used instead.
    """

    def __init__(self, name: str, given: asyncio.AbstractEventLoop | None = None) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop = given
        self._thread: threading.Thread | None = None

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, from any loop.

        Raises:
            Closed: If the loop is closed meanwhile.
        """
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(self.begin(work))

    def call_now(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it on this thread.

        Raises:
            Closed: If the loop is closed meanwhile.
        """
        return self.begin(work).result()

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Have a coroutine run there; the future gives what it gives, or that the loop was closed."""
        # Posted with the lock held: what ends the loop comes after it, and ends it too.
        with self._lock:
            return asyncio.run_coroutine_threadsafe(self._within(work), self._running())

    def close(self, last: Last | None = None) -> None:
        """End the loop, and wait until it has; what is called after that is run on a new one.

        Args:
            last: Run there before the end, when nothing else is under way any more, if the loop has begun.
        """
        ending, thread = self._end(last)
        if ending is None or thread is None:
            return
        try:
            ending.result()
        finally:
            thread.join()

    async def aclose(self, last: Last | None = None) -> None:
        """Do the same without a thread to wait on: all that a host has may wait for this loop."""
        ending, _ = self._end(last)
        if ending is not None:
            # Whoever closes may leave; the loop ends all the same.
            await asyncio.shield(asyncio.wrap_future(ending))

    def _end(self, last: Last | None) -> tuple[concurrent.futures.Future[None] | None, threading.Thread | None]:
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return None, None

        async def end() -> None:
            # Nobody is to wait for what a stopped loop does.
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
            if last is not None:
                await last()

        ending = asyncio.run_coroutine_threadsafe(end(), loop)
        ending.add_done_callback(lambda ended: loop.call_soon_threadsafe(loop.stop))
        return ending, thread

    async def _within(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except asyncio.CancelledError:
            if asyncio.get_running_loop() is self._loop:
                raise
            raise Closed(f"The loop {self._name!r} was closed meanwhile.") from None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
