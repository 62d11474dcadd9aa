"""The task hub: a folder with the store of one app's instances, and its single owner."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Final

import apsw

from perdure import errors, platform
from perdure.engine import migrations, writer

HUB_FILE = "hub.db"
PAYLOADS_FILE = "payloads.db"
LOCK_FILE = "owner.lock"

PAGE_BYTES: Final = {HUB_FILE: 4096, PAYLOADS_FILE: 32 * 1024}
"""Large payloads lie in large pages: fewer to write for each."""

LOG_BYTES = writer.CHECKPOINT_BYTES + 100 * writer.FRAME_BYTES
"""The log is laid out a little longer than it gets before it is moved into the file."""

_BUSY_TIMEOUT_MS = 5_000
_CACHED_STATEMENTS = 256
_ROOM_BYTES = 64 * 1024


class Hub:
    """An opened hub that this process owns until ``release``."""

    def __init__(self, folder: pathlib.Path, lock: platform.Lock) -> None:
        self.folder = folder
        self._lock = lock

    def release(self) -> None:
        """Let another process open the hub."""
        self._lock.release()

    def writer(self) -> apsw.Connection:
        """Open a connection that writes the hub file."""
        return _connect(self.folder / HUB_FILE, write=True)

    def payload_writer(self) -> apsw.Connection:
        """Open a connection that writes the file of large payloads."""
        return _connect(self.folder / PAYLOADS_FILE, write=True)

    def reader(self) -> apsw.Connection:
        """Open a connection that reads the hub file."""
        return _connect(self.folder / HUB_FILE, write=False)

    def payload_reader(self) -> apsw.Connection:
        """Open a connection that reads the file of large payloads."""
        return _connect(self.folder / PAYLOADS_FILE, write=False)


def open_hub(folder: pathlib.Path) -> Hub:
    """Create the folder where needed, become its owner and bring its files to the newest schema.

    Raises:
        HubError: If another process owns it, it cannot be written, or a newer perdure wrote it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
        lock = platform.lock(folder / LOCK_FILE)
    except platform.Locked as held:
        owner = "another process" if held.pid is None else f"process {held.pid}"
        raise errors.HubError(
            f"The hub {folder} is in use by {owner}.", "Stop that process, or choose another hub with --hub."
        ) from None
    except OSError as error:
        raise errors.HubError(
            f"The hub {folder} cannot be opened: {error.strerror or error}.",
            "Check the permissions and the free space, or choose another place with --hub.",
        ) from error
    try:
        for file, scripts in ((HUB_FILE, migrations.HUB), (PAYLOADS_FILE, migrations.PAYLOADS)):
            connection = _connect(folder / file, write=True, page_bytes=PAGE_BYTES[file])
            try:
                migrations.migrate(connection, scripts, str(folder / file))
            finally:
                connection.close()
        _lay_out(folder / f"{HUB_FILE}-wal")
    except apsw.Error as error:
        lock.release()
        raise unwritable(folder, error) from error
    except BaseException:
        lock.release()
        raise
    return Hub(folder, lock)


def _lay_out(log: pathlib.Path) -> None:
    """Give the log its size before it is used.

    A commit that writes over what is there need not make a change of the file's size durable as well: a third of
    its time, measured on ext4. SQLite takes a log that begins with zeros for an empty one (the WAL file format).
    """
    if log.exists() and log.stat().st_size > 0:
        return
    try:
        with log.open("wb") as file:
            file.write(bytes(LOG_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        # There may be room for less than this: the log then grows as it is written.
        log.unlink(missing_ok=True)


def unwritable(folder: pathlib.Path, error: BaseException) -> errors.HubError:
    """Describe a hub that cannot be written, with what to do about it."""
    # Where not even the shared memory file finds room, a full disk shows as an I/O error.
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and _no_room(folder)):
        reason, remedy = "the disk is full", "Free some space; the engine goes on by itself when there is room."
    elif isinstance(error, (apsw.ReadOnlyError, apsw.PermissionsError, apsw.CantOpenError)):
        reason, remedy = str(error), "Check the permissions of the folder and its files."
    elif isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        reason, remedy = str(error), "The file is damaged: restore it from a copy, or start with another hub (--hub)."
    else:
        reason, remedy = f"{error}", "Check the disk; the engine tries again by itself."
    return errors.HubError(f"The hub {folder} could not be written: {reason}.", remedy)


def _no_room(folder: pathlib.Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _ROOM_BYTES
    except OSError:
        return False


def _connect(path: pathlib.Path, *, write: bool, page_bytes: int | None = None) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=_CACHED_STATEMENTS)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    if page_bytes is not None:
        # It counts for a file that is about to be made.
        connection.pragma("page_size", page_bytes)
    if write:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("wal_autocheckpoint", 0)
    return connection
