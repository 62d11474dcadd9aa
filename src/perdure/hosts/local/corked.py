"""A transport that sends what is written in one go together: a response's head and body in one packet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http import auto


class CorkedTransport:
    """Holds writes back until the loop's next turn, and sends them as one.

    Args:
        inner: The transport that sends.
        loop: Its loop.
    """

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send data soon."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held = self._held, []
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        """Do all else as the transport does."""
        return getattr(self._inner, name)


class CorkedProtocol(auto.AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # chosen by uvicorn at run time
    """uvicorn's HTTP protocol over a corked transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a connection."""
        inner = cast(asyncio.Transport, transport)
        super().connection_made(cast(asyncio.Transport, CorkedTransport(inner, asyncio.get_running_loop())))
