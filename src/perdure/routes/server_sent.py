"""Server-sent events on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from perdure.payloads.codec import plain
from perdure.routes import messages

HEARTBEAT_SECONDS: Final = 15.0

HEADERS: Final[Mapping[str, str]] = {
    "content-type": messages.EVENT_STREAM,
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}

RETRY: Final = b"retry: "
"""What a stream begins with that may be cut and come back to: after how many milliseconds."""

_HEARTBEAT: Final = b": still here\n\n"


def frame(type: str, data: Any, id: int = 0) -> bytes:
    """Give one event; one that is not recorded has the id 0, and none on the wire."""
    try:
        body = msgspec.json.encode(data)
    except UnicodeEncodeError:
        # Lone surrogates, which models sometimes give and JSON cannot hold.
        body = msgspec.json.encode(plain.to_plain(data))
    number = b"id: %d\n" % id if id else b""
    return b"%sevent: %s\ndata: %s\n\n" % (number, type.encode(), body)


async def alive(frames: AsyncGenerator[bytes], heartbeat: float = HEARTBEAT_SECONDS) -> AsyncIterator[bytes]:
    """Give the frames as they come, with a comment whenever there was none for ``heartbeat`` seconds."""
    upcoming: asyncio.Future[bytes] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(frames))
            await asyncio.wait((upcoming,), timeout=heartbeat)
            if not upcoming.done():
                yield _HEARTBEAT
                continue
            try:
                found = upcoming.result()
            except StopAsyncIteration:
                return
            upcoming = None
            yield found
    finally:
        if upcoming is not None and not upcoming.done():
            upcoming.cancel()
            await asyncio.wait((upcoming,))
        await frames.aclose()
