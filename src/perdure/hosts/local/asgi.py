"""ASGI: what comes in over a connection, and what goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from perdure.routes import messages, problems

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

LINGER_SECONDS = 2.0
"""How long a refused body is still read (and dropped), so that its sender gets to see the refusal."""


class Disconnected(Exception):
    """The client left before its request was whole."""


async def body_of(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    """Read the body of a request.

    Raises:
        Problem: 413 if it is larger than the limit, or is said to be.
        Disconnected: If the client leaves before it is whole.
    """
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise problems.too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected
        part = event.get("body", b"")
        size += len(part)
        if size > limit:
            raise problems.too_large(limit)
        parts.append(part)
        if not event.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


async def refuse(reply: messages.Reply, shared: Mapping[str, str], receive: Receive, send: Send, method: str) -> None:
    """Answer before the body was read, then drop what still comes for a while.

    Closing a connection with unread data in it resets it, and the client may lose the answer.
    """
    body = b"" if method == "HEAD" or not isinstance(reply.body, bytes) else reply.body
    await send(_head(reply, shared, len(body)))
    await send({"type": "http.response.body", "body": body, "more_body": True})
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while (event := await receive())["type"] == "http.request" and event.get("more_body", False):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})


async def send_reply(reply: messages.Reply, shared: Mapping[str, str], send: Send, method: str) -> None:
    """Send an answer, whole or as it comes; to a HEAD request its head only."""
    body = reply.body
    if isinstance(body, bytes):
        await send(_head(reply, shared, len(body)))
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        return
    try:
        await send(_head(reply, shared, None))
        if method != "HEAD":
            async for part in body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


def _head(reply: messages.Reply, shared: Mapping[str, str], length: int | None) -> Event:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in shared.items()]
    if length is not None and reply.status != 204:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Give the headers of a request by their names in lower case; those that come twice are joined."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def query_of(raw: bytes) -> dict[str, str]:
    """Give the query of a request; values of one name are joined."""
    found: dict[str, str] = {}
    if raw:
        for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
            found[name] = f"{found[name]},{value}" if name in found else value
    return found


def raw_path(scope: Scope) -> str:
    """Give the path of a request, still encoded where the server says it."""
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.decode("latin-1")
    return path


def origin_of(scope: Scope, headers: Mapping[str, str]) -> str:
    """Give the origin that a request was sent to, as it says itself."""
    host = headers.get("host", "")
    if not host or any(sign in host for sign in "/\\@?# \t"):
        name, port = scope["server"][0], scope["server"][1]
        host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{scope['scheme']}://{host}"
