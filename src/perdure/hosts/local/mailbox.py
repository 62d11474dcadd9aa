"""Calls posted from any thread to a loop, those of a moment together: waking a loop costs a system call."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import Any

Call = Callable[..., object]


class Mailbox:
    """Where calls to one loop are posted; they run there in the order of posting.

    Args:
        loop: The loop that runs them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: collections.deque[tuple[Call, tuple[Any, ...]]] = collections.deque()
        self._woken = False

    def post(self, call: Call, *args: Any) -> bool:
        """Have the loop run a call soon; False if the loop is closed and nobody will."""
        self._calls.append((call, args))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                if not self._loop.is_closed():
                    raise
                return False
        return not self._loop.is_closed()

    def _deliver(self) -> None:
        # Unset before looking: what is posted after the look wakes the loop again.
        self._woken = False
        for _ in range(len(self._calls)):
            call, args = self._calls.popleft()
            try:
                call(*args)
            except Exception as error:
                self._loop.call_exception_handler({"message": "A call from another loop failed", "exception": error})
