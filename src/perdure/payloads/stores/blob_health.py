"""Whether a container of Blob Storage can be had, for whoever asks after the health of a host."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from azure.core import exceptions

from perdure import errors, loops
from perdure.payloads.stores import blob_container

FRESH_SECONDS: Final = 5.0
"""For so long what was found holds: a look is paid for, and health is asked after every few seconds."""

PATIENCE_SECONDS: Final = 2.0

_NO_BLOB: Final = "perdure-health"


class Health:
    """Looks at a container, once in a while however many ask, from any loop.

    Args:
        container: The container.
        made: Says whether it has been there; before that, it is no trouble that it is not.
    """

    def __init__(self, container: blob_container.Container, made: Callable[[], bool] = lambda: True) -> None:
        self._container = container
        self._made = made
        self._lock = threading.Lock()
        self._looking: concurrent.futures.Future[None] | None = None
        self._since = 0.0

    async def trouble(self) -> str | None:
        """Say why the container cannot be had; None where it can."""
        looking = asyncio.wrap_future(self._last())
        try:
            # Whoever has no time any more leaves the look to those who come next: a sign-in may take longer.
            await asyncio.wait_for(asyncio.shield(looking), PATIENCE_SECONDS)
        except TimeoutError:
            return f"{self._container.described} has not answered within {PATIENCE_SECONDS:g} s."
        except errors.PerdureError as error:
            return str(error)
        except loops.Closed:
            return f"{self._container.described} was closed: the host stops."
        return None

    def _last(self) -> concurrent.futures.Future[None]:
        with self._lock:
            looking, age = self._looking, time.monotonic() - self._since
            if looking is None or (looking.done() and age > FRESH_SECONDS):
                looking = self._looking = self._container.begin(self._look)
                self._since = time.monotonic()
            return looking

    async def _look(self, client: Any) -> None:
        once = {"retry_total": 0, "connection_timeout": PATIENCE_SECONDS, "read_timeout": PATIENCE_SECONDS}
        try:
            await client.get_blob_client(_NO_BLOB).get_blob_properties(**once)
        except exceptions.ResourceNotFoundError as error:
            if blob_container.is_gone(error) and self._made():
                raise
