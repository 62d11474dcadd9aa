"""The writer threads: one transaction for everything handed over since the last one."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import apsw

from perdure.engine import statements

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""The log is moved into the file once it is this long."""

FRAME_BYTES = 24 + 4096
"""A page in the log, with its header."""

LARGE_LOG_BYTES = 12 * 1024 * 1024
"""A log that has grown past this, by one large payload, also gives its room back to the disk."""

IDLE_SECONDS = 1.0
"""After so long without work the log is moved into the file, whatever its length."""

CHUNK_ROWS_LIMIT = 64

HERE_SECONDS_LIMIT = 0.005
"""While commits take no longer, an idle loop may run one itself."""

log = logging.getLogger("perdure.engine")

Item = TypeVar("Item")


class _Resume:
    """Follows a failed commit in the queue: what stands before it was produced in ignorance of the failure."""


class _Stop:
    """The last entry of the queue."""


class _Nudge:
    """There is a log to look after."""


class Writer(Generic[Item]):
    """A thread with a connection of its own that commits items in the order given.

    Args:
        name: The thread's name.
        connect: Opens the connection; called on the writer's thread.
        apply: Writes items within an open transaction.
        single: Says whether these items are one statement, which then needs no transaction round it.
        done: Called on the loop with the items and the error, None when they are durable.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], apsw.Connection],
        apply: Callable[[apsw.Cursor, Sequence[Item]], None],
        done: Callable[[Sequence[Item], BaseException | None], None],
        single: Callable[[Sequence[Item]], bool] = lambda items: False,
    ) -> None:
        self._connect = connect
        self._apply = apply
        self._single = single
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Item | _Resume | _Stop | _Nudge] = queue.SimpleQueue()
        self._halted = False
        self._dropped = False
        self._connection: apsw.Connection | None = None
        self._cursor: apsw.Cursor | None = None
        self._log_bytes = 0
        self._page_bytes = 0
        self._guard = threading.Lock()
        self._last_commit = 0.0
        self._commit_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand over an item; ``done`` tells what became of it."""
        self._queue.put(item)

    def commit_here(self, items: Sequence[Item]) -> bool:
        """Commit on the calling thread, the loop's, and call ``done``; False if that cannot be had now.

        For a loop that has nothing else to do until the commit: waking two sleeping threads costs as much as
        the commit itself. Nothing may be waiting in the queue.
        """
        if self._commit_seconds > HERE_SECONDS_LIMIT or not self._guard.acquire(blocking=False):
            return False
        unlogged = self._log_bytes == 0
        try:
            if self._halted or self._dropped:
                return False
            error = self._try(items)
        finally:
            self._guard.release()
        if unlogged or self._log_bytes >= CHECKPOINT_BYTES:
            self._queue.put(_Nudge())
        self._done(items, error)
        return True

    def resume(self) -> None:
        """After a failure: what is handed over from now on may be tried again. What was before fails untried."""
        self._queue.put(_Resume())

    async def close(self) -> None:
        """Commit what was handed over, move the log into the file, and end the thread."""
        self._queue.put(_Stop())
        await self._loop.run_in_executor(None, self._thread.join)

    async def crash(self) -> None:
        """End the thread without committing what it has not begun to commit."""
        self._dropped = True
        await self.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            items: list[Item] = []
            try:
                entry = self._queue.get(timeout=IDLE_SECONDS if self._log_bytes else None)
            except queue.Empty:
                if time.monotonic() - self._last_commit >= IDLE_SECONDS:
                    self._checkpoint("passive")
                continue
            while True:
                if isinstance(entry, _Stop):
                    stopping = True
                elif isinstance(entry, _Resume):
                    self._write(items)
                    items = []
                    self._halted = False
                elif not isinstance(entry, _Nudge):
                    items.append(entry)
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            self._write(items)
            if self._log_bytes >= CHECKPOINT_BYTES:
                self._checkpoint("passive" if self._log_bytes < LARGE_LOG_BYTES else "truncate")
        self._close()

    def _write(self, items: list[Item]) -> None:
        if self._dropped or not items:
            return
        error: BaseException | None = RuntimeError("an earlier commit failed")
        if not self._halted:
            with self._guard:
                error = self._try(items)
        try:
            self._loop.call_soon_threadsafe(self._done, items, error)
        except RuntimeError:
            log.debug("the loop is closed; a commit was not announced")

    def _try(self, items: Sequence[Item]) -> BaseException | None:
        began = time.monotonic()
        try:
            self._commit(items)
        except Exception as error:
            self._halted = True
            self._undo(error)
            return error
        self._last_commit = time.monotonic()
        self._commit_seconds = self._last_commit - began
        return None

    def _commit(self, items: Sequence[Item]) -> None:
        """Make items durable, all or none."""
        cursor = self._cursor or self._open()
        if self._single(items):
            self._apply(cursor, items)
            return
        cursor.execute(statements.text("begin"))
        self._apply(cursor, items)
        cursor.execute(statements.text("commit"))

    def _open(self) -> apsw.Cursor:
        connection = self._connection = self._connect()
        connection.set_wal_hook(self._logged)
        self._page_bytes = int(connection.pragma("page_size"))
        self._cursor = connection.cursor()
        return self._cursor

    def _logged(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._log_bytes = pages * self._page_bytes
        return apsw.SQLITE_OK

    def _checkpoint(self, mode: str) -> None:
        try:
            with self._guard:
                self._log_bytes = 0
                # Looked at under the guard: a commit that fails on the loop's thread takes it away.
                if self._connection is not None:
                    self._connection.execute(statements.text(f"checkpoint_{mode}")).fetchall()
        except apsw.Error as error:
            # The log stays and is tried again after the next commit.
            log.warning("The hub's log could not be moved into its file: %s", error)

    def _undo(self, error: Exception) -> None:
        """Roll back. A full disk leaves the connection sound, and there may be no room to open another."""
        if isinstance(error, apsw.FullError) and self._cursor is not None and self._connection is not None:
            try:
                if self._connection.in_transaction:
                    self._cursor.execute(statements.text("rollback"))
                return
            except apsw.Error as second:
                log.warning("A failed commit could not be rolled back: %s", second)
        self._disconnect()

    def _disconnect(self) -> None:
        """Close the connection; an open transaction is rolled back by that."""
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is None:
            return
        try:
            connection.close(True)
        except apsw.Error as error:
            log.warning("The hub's connection could not be closed cleanly: %s", error)

    def _close(self) -> None:
        if self._connection is not None and self._dropped:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        elif self._connection is not None:
            self._checkpoint("truncate")
        self._disconnect()


def write_rows(cursor: apsw.Cursor, name: str, values: Sequence[apsw.SQLiteValue]) -> None:
    """Run a multi-row statement over values that lie row after row.

    Few large steps instead of many small ones: each step gives up the interpreter lock and must win it back.
    """
    width = statements.width(name)
    count = len(values) // width
    start = 0
    while count:
        rows = min(1 << (count.bit_length() - 1), CHUNK_ROWS_LIMIT)
        chunk = values if start == 0 and rows == count else values[start : start + rows * width]
        cursor.execute(statements.rows(name, rows), chunk)
        start += rows * width
        count -= rows
