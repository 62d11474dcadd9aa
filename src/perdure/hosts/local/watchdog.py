"""Watches the loop that user code runs on: an executor that blocks it is named."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from types import FrameType
from typing import Final

from agent_framework import Executor

PATIENCE_SECONDS: Final = 1.0
"""How long the loop may not turn before somebody is named."""

THREAD: Final = "perdure-watchdog"

logger = logging.getLogger("perdure")


class Watchdog:
    """A thread that asks the loop for a sign of life.

    Args:
        loop: The loop; the thread that constructs the watchdog runs it.
        patience: How long it may be silent, seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: float = PATIENCE_SECONDS) -> None:
        self._loop = loop
        self._patience = patience
        self._watched = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._patience / 2):
            alive = threading.Event()
            try:
                self._loop.call_soon_threadsafe(alive.set)
            except RuntimeError:
                # The loop is closed: its host went away without saying so.
                return
            if alive.wait(self._patience):
                continue
            logger.warning(blocked(sys._current_frames().get(self._watched), self._patience))
            while not self._stop.is_set() and not alive.wait(self._patience / 2):
                pass


def blocked(frame: FrameType | None, seconds: float) -> str:
    """Say who blocks the loop, judging by the frames of its thread."""
    line = ""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if frame.f_code.co_name == "execute" and isinstance(owner, Executor):
            return (
                f"Executor {owner.id!r} has blocked the event loop for more than {seconds:g} s{line}: all runs wait "
                "for it. Await an asynchronous call there, or do it in asyncio.to_thread()."
            )
        if not line and not _is_library(frame.f_code.co_filename):
            line = f" at {frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return f"Something{line} has blocked the event loop for more than {seconds:g} s: all runs wait for it."


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith("<frozen") or "/lib/python" in filename
