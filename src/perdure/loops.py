"""Event loops in threads of their own, reached from any thread and any other loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
        """Run a coroutine there, from any loop."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._running()))

    def call_now(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it on this thread."""
        return asyncio.run_coroutine_threadsafe(work, self._running()).result()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """End the loop, and wait until it has; what is called after that is run on a new one.

        Args:
            last: Run there before the end, if the loop has begun.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        try:
            if last is not None:
                asyncio.run_coroutine_threadsafe(last(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
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
