"""The table of routes as an ASGI application, without a framework on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import unquote

from perdure import tracing
from perdure.hosts.local import asgi
from perdure.hosts.local import cors as origins
from perdure.hosts.local import names as host_names
from perdure.routes import messages, problems, table
from perdure.routes import site as sites

logger = logging.getLogger("perdure.http")


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

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
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

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer one connection's request."""
        if scope["type"] != "http":
            return
        headers = asgi.headers_of(scope["headers"])
        shared = self._cors.headers(headers.get("origin", ""))
        try:
            if self._names.everywhere:
                self._check_name(headers)
            if self._mounted is not None and asgi.raw_path(scope).rstrip("/").casefold() == self._mounted.path:
                self._check_name(headers)
                await self._pass_on(self._mounted, scope, headers, shared, receive, send)
                return
            route, params = self._match(scope)
            if route.method != "GET":
                self._check_origin(scope, headers)
            body = await asgi.body_of(receive, headers, self.site.body_limit)
        except problems.Problem as problem:
            await asgi.refuse(problems.reply(problem), shared, receive, send, scope["method"])
            return
        except _Options as options:
            reply = self._cors.preflight(headers, options.allowed)
            await asgi.send_reply(reply, shared, send, scope["method"])
            return
        except asgi.Disconnected:
            return
        request = messages.Request(
            method="GET" if scope["method"] == "HEAD" else scope["method"],
            path=scope["path"],
            params=params,
            query=asgi.query_of(scope["query_string"]),
            headers=headers,
            body=body,
            origin=asgi.origin_of(scope, headers),
            client=scope["client"][0] if scope.get("client") else "",
        )
        await _while_connected(self._serve(route, request, shared, send, scope["method"]), receive)

    async def _pass_on(
        self,
        mounted: Mounted,
        scope: asgi.Scope,
        headers: Mapping[str, str],
        shared: Mapping[str, str],
        receive: asgi.Receive,
        send: asgi.Send,
    ) -> None:
        if scope["method"] == "OPTIONS":
            raise _Options(", ".join(sorted({*mounted.methods, "OPTIONS"})))
        self._check_origin(scope, headers)
        added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in shared.items()]

        async def send_with_shared(event: asgi.Event) -> None:
            if event["type"] == "http.response.start" and added:
                event = {**event, "headers": [*event["headers"], *added]}
            await send(event)

        await mounted(scope, receive, send_with_shared)

    def _check_name(self, headers: Mapping[str, str]) -> None:
        # Who says no name is no browser.
        if "host" in headers and not self._names.admit(headers["host"]):
            raise problems.unknown_host(headers["host"])

    def _check_origin(self, scope: asgi.Scope, headers: Mapping[str, str]) -> None:
        own = (asgi.origin_of(scope, headers), self.site.base_url)
        if not self._cors.admits(headers.get("origin", ""), own):
            raise problems.foreign_origin(headers["origin"])

    def _match(self, scope: asgi.Scope) -> tuple[table.Route, dict[str, str]]:
        method, path = scope["method"], asgi.raw_path(scope)
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
        self, route: table.Route, request: messages.Request, shared: Mapping[str, str], send: asgi.Send, method: str
    ) -> None:
        with tracing.attached(request.headers):
            reply = await table.answer(self.site, route, request)
        await asgi.send_reply(reply, shared, send, method)


class _Options(Exception):
    def __init__(self, allowed: str) -> None:
        self.allowed = allowed


async def _while_connected(serving: Awaitable[None], receive: asgi.Receive) -> None:
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
