"""The table of routes as an ASGI application, without a framework on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from perdure import tracing
from perdure.hosts.local import cors as origins
from perdure.hosts.local import names as host_names
from perdure.routes import messages, problems, table
from perdure.routes import site as sites

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

LINGER_SECONDS = 2.0
"""How long a refused body is still read (and dropped), so that its sender gets to see the refusal."""

logger = logging.getLogger("perdure.http")


class Disconnected(Exception):
    """The client left before its request was whole."""


class Beside(Protocol):
    """What is served beside the routes of a site."""

    def match(
        self, site: sites.Site, method: str, path: str, builtin: bool
    ) -> tuple[table.Route, dict[str, str]] | None:
        """Find what answers a request; ``builtin`` says whether the site's own table has something on its path.

        Raises:
            Problem: If it is answered with that.
        """
        ...

    def methods(self, site: sites.Site, path: str) -> Collection[str]:
        """Give the methods that a path takes; empty if it is not one of these."""
        ...


class Mounted(Protocol):
    """An application of its own at one path."""

    @property
    def path(self) -> str:
        """The path, in lower case."""
        ...

    @property
    def methods(self) -> Collection[str]:
        """The methods that it takes."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Be ready to serve."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            Problem: If it is answered with that.
        """
        ...


class Application:
    """Serves a site over ASGI.

    Args:
        site: What is served.
        cors: Which browser origins may call from other sites.
        beside: What is served beside it.
        mounted: What has a path to itself; it is guarded from other names on whatever address.
        names: By which names it may be asked; any if not given.
    """

    def __init__(
        self,
        site: sites.Site,
        cors: origins.Cors | None = None,
        beside: Beside | None = None,
        mounted: Mounted | None = None,
        names: host_names.Names | None = None,
    ) -> None:
        self.site = site
        self._names = names or host_names.Names(frozenset({host_names.ANY}), everywhere=False)
        self._beside = beside
        self._mounted = mounted
        self.table = table.Table(site)
        self._cors = cors or origins.Cors()
        self._prefix = f"/{site.prefix}/" if site.prefix else "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] != "http":
            return
        headers = _headers(scope["headers"])
        shared = self._cors.headers(headers.get("origin", ""))
        try:
            if self._names.everywhere:
                self._check_name(headers)
            if self._mounted is not None and _raw_path(scope).rstrip("/").casefold() == self._mounted.path:
                self._check_name(headers)
                await self._pass_on(self._mounted, scope, headers, shared, receive, send)
                return
            route, params = self._match(scope)
            if route.method != "GET":
                self._check_origin(scope, headers)
            body = await _body(receive, headers, self.site.body_limit)
        except problems.Problem as problem:
            await _refuse(problems.reply(problem), shared, receive, send, scope["method"])
            return
        except _Options as options:
            reply = self._cors.preflight(headers, options.allowed)
            await _send(reply, shared, send, scope["method"])
            return
        except Disconnected:
            return
        request = messages.Request(
            method="GET" if scope["method"] == "HEAD" else scope["method"],
            path=scope["path"],
            params=params,
            query=_query(scope["query_string"]),
            headers=headers,
            body=body,
            origin=_origin(scope, headers),
            client=scope["client"][0] if scope.get("client") else "",
        )
        await _while_connected(self._serve(route, request, shared, send, scope["method"]), receive)

    async def _pass_on(
        self,
        mounted: Mounted,
        scope: Scope,
        headers: Mapping[str, str],
        shared: Mapping[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        if scope["method"] == "OPTIONS":
            raise _Options(", ".join(sorted({*mounted.methods, "OPTIONS"})))
        self._check_origin(scope, headers)
        added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in shared.items()]

        async def send_with_shared(event: Event) -> None:
            if event["type"] == "http.response.start" and added:
                event = {**event, "headers": [*event["headers"], *added]}
            await send(event)

        await mounted(scope, receive, send_with_shared)

    def _check_name(self, headers: Mapping[str, str]) -> None:
        # Who says no name is no browser.
        if "host" in headers and not self._names.admit(headers["host"]):
            raise problems.unknown_host(headers["host"])

    def _check_origin(self, scope: Scope, headers: Mapping[str, str]) -> None:
        own = (_origin(scope, headers), self.site.base_url)
        if not self._cors.admits(headers.get("origin", ""), own):
            raise problems.foreign_origin(headers["origin"])

    def _match(self, scope: Scope) -> tuple[table.Route, dict[str, str]]:
        method, path = scope["method"], _raw_path(scope)
        if self._beside is not None and (found := self._match_beside(self._beside, method, path)) is not None:
            return found
        if path == "/":
            raise problems.Problem(
                404, f"There is nothing at '/'; the API is below {self._prefix}, try {self._prefix}docs."
            )
        if not path.casefold().startswith(self._prefix.casefold()):
            raise problems.Problem(
                404, f"There is nothing at {problems.clipped(path)}; the API is below {self._prefix}."
            )
        segments = [unquote(part) for part in path[len(self._prefix) :].rstrip("/").split("/")]
        if method == "OPTIONS":
            at_path = self.table.methods(segments)
            if at_path:
                raise _Options(table.allow(at_path))
        return self.table.match(method, segments)

    def _match_beside(self, beside: Beside, method: str, path: str) -> tuple[table.Route, dict[str, str]] | None:
        builtin = False
        if path.casefold().startswith(self._prefix.casefold()):
            builtin = bool(
                self.table.methods([unquote(part) for part in path[len(self._prefix) :].rstrip("/").split("/")])
            )
        if method == "OPTIONS" and not builtin and (taken := beside.methods(self.site, path)):
            raise _Options(", ".join(sorted({*taken, "OPTIONS"})))
        return beside.match(self.site, method, path, builtin)

    async def _serve(
        self, route: table.Route, request: messages.Request, shared: Mapping[str, str], send: Send, method: str
    ) -> None:
        with tracing.attached(request.headers):
            reply = await table.answer(self.site, route, request)
        await _send(reply, shared, send, method)


class _Options(Exception):
    def __init__(self, allowed: str) -> None:
        self.allowed = allowed


async def _while_connected(serving: Awaitable[None], receive: Receive) -> None:
    """Serve until done, or until the client leaves."""
    task = asyncio.current_task()
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        await serving
    except asyncio.CancelledError:
        if not gone or task is None or task.uncancel() > 0:
            raise
    finally:
        watcher.cancel()


async def _body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
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


async def _refuse(reply: messages.Reply, shared: Mapping[str, str], receive: Receive, send: Send, method: str) -> None:
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


async def _send(reply: messages.Reply, shared: Mapping[str, str], send: Send, method: str) -> None:
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


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _query(raw: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    if raw:
        for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
            found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _raw_path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    path: str = scope["path"] if raw is None else raw.decode("latin-1")
    return path


def _origin(scope: Scope, headers: Mapping[str, str]) -> str:
    host = headers.get("host", "")
    if not host or any(sign in host for sign in "/\\@?# \t"):
        name, port = scope["server"][0], scope["server"][1]
        host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    return f"{scope['scheme']}://{host}"
