"""What differs between operating systems: the lock that gives a hub a single owner, and how a signal wakes a loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Protocol

if sys.platform == "win32":
    import msvcrt

    # A locked region cannot be read on Windows, so the lock sits far behind the pid.
    _LOCK_OFFSET_BYTES = 1 << 30

    def _try_lock(handle: int) -> bool:
        os.lseek(handle, _LOCK_OFFSET_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

    def _wait_for_lock(handle: int) -> None:
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
            except OSError as error:
                # It was held for ten seconds.
                if error.errno != errno.EDEADLK:
                    raise
            else:
                return

    def wake_on(signal_number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Have a signal wake a loop, where loops do not see to it themselves, as they do on Windows."""

else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_for_lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)

    def wake_on(signal_number: int, loop: asyncio.AbstractEventLoop) -> None:
        """Have a signal wake a loop; call it before ``signal.signal``, whose handler it replaces.

        A handler of ``signal.signal`` runs when the main thread next does: a signal that comes as the loop goes to
        sleep, or on another thread, would be heard of when something else wakes it.
        """
        loop.add_signal_handler(signal_number, lambda: None)


class Locked(Exception):
    """Another process holds the lock.

    Attributes:
        pid: The holder's process id, or None when it cannot be read.
    """

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


class Lock(Protocol):
    """A held lock; the operating system releases it when the process dies."""

    def release(self) -> None:
        """Let another process have it."""
        ...


class _FileLock:
    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        """Let another process have it; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def lock(path: pathlib.Path) -> Lock:
    """Take the lock of a file and write this process's id into it.

    Raises:
        Locked: If another owner holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    if not _try_lock(handle):
        text = os.read(handle, 32).decode("ascii", "replace").strip()
        os.close(handle)
        raise Locked(int(text) if text.isdigit() else None)
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return _FileLock(handle)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there; waits for whoever holds it, also on another machine.

    Raises:
        OSError: If the file system has no locks.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        _wait_for_lock(handle)
        yield
    finally:
        os.close(handle)
