"""Readers: connections of their own, taken by whichever thread needs one."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Any

import apsw

from perdure import errors
from perdure.engine import statements

IDLE_CONNECTIONS_LIMIT = 8


class Readers:
    """A pool of reading connections. Each statement sees what is committed when it begins."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._idle: collections.deque[apsw.Connection] = collections.deque()
        self._guard = threading.Lock()
        self._closed = False

    def rows(self, name: str, bindings: Any = ()) -> list[tuple[Any, ...]]:
        """Run a named statement and give all its rows.

        Raises:
            HubError: If the hub is closed or cannot be read.
        """
        connection = self._take()
        try:
            found: list[tuple[Any, ...]] = connection.execute(statements.text(name), bindings).fetchall()
        except apsw.Error as error:
            connection.close()
            raise errors.HubError(f"The hub could not be read: {error}.", "Check the disk.") from error
        self._give_back(connection)
        return found

    def row(self, name: str, bindings: Any = ()) -> tuple[Any, ...] | None:
        """Run a named statement and give its first row."""
        found = self.rows(name, bindings)
        return found[0] if found else None

    def close(self) -> None:
        """Close the connections; those in use are closed when given back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, collections.deque()
        for connection in idle:
            connection.close()

    def _take(self) -> apsw.Connection:
        with self._guard:
            if self._closed:
                raise errors.HubError("The hub is closed.", "Start the host again.")
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except apsw.Error as error:
            raise errors.HubError(f"The hub could not be opened for reading: {error}.", "Check the disk.") from error

    def _give_back(self, connection: apsw.Connection) -> None:
        with self._guard:
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS_LIMIT:
                self._idle.append(connection)
                return
        connection.close()
