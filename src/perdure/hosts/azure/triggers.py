"""Routes as functions with HTTP triggers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func

from perdure import tracing
from perdure.routes import messages, problems, server_sent, table
from perdure.routes import site as sites

LONG_POLL_SECONDS: Final = 25.0
"""How long a stream waits for its first event: a function answers once, and the client comes back by itself."""

LULL_SECONDS: Final = 0.1
"""A stream is answered with what there is when nothing has come for so long."""

ANONYMOUS: Final = func.AuthLevel.ANONYMOUS

SiteOf = Callable[[df.DurableOrchestrationClient], Awaitable[sites.Site]]


def add(app: df.DFApp, routes: Iterable[table.Route], site_of: SiteOf) -> None:
    """Add a function for each route.

    Args:
        app: The app; what needs a key needs the one that the app says.
        routes: The routes.
        site_of: Gives what they stand on, for one invocation.
    """
    for route in routes:
        level = ANONYMOUS if route.anonymous else app.auth_level
        bound = app.durable_client_input("client")(_function(route, site_of, open=app.auth_level == ANONYMOUS))
        app.function_name(route.name)(app.route(route=route.path, methods=[route.method], auth_level=level)(bound))


def _function(
    route: table.Route, site_of: SiteOf, *, open: bool
) -> Callable[[func.HttpRequest, df.DurableOrchestrationClient], Awaitable[func.HttpResponse]]:
    async def handle(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
        site = await site_of(client)
        request = request_of(req, site, route, authorised=open or not route.anonymous)
        if len(request.body) > site.body_limit:
            return await response_of(problems.reply(problems.too_large(site.body_limit)))
        with tracing.attached(request.headers):
            return await response_of(await table.answer(site, route, request))

    return handle


def request_of(req: func.HttpRequest, site: sites.Site, route: table.Route, *, authorised: bool) -> messages.Request:
    """Give a request as routes read it."""
    parts = urlsplit(req.url)
    path = parts.path.lstrip("/")
    if site.prefix and path.casefold().startswith(f"{site.prefix}/".casefold()):
        path = path[len(site.prefix) + 1 :]
    return messages.Request(
        method="GET" if req.method == "HEAD" else req.method,
        path=unquote(path),
        params={**route.fixed, **req.route_params},
        query=dict(req.params),
        headers={name.lower(): value for name, value in req.headers.items()},
        body=req.get_body() or b"",
        origin=f"{parts.scheme}://{parts.netloc}",
        authorised=authorised,
    )


async def response_of(reply: messages.Reply) -> func.HttpResponse:
    """Give a reply as a function answers it."""
    body = reply.body if isinstance(reply.body, bytes) else await _collected(reply.body)
    return func.HttpResponse(body, status_code=reply.status, headers=dict(reply.headers))


async def _collected(parts: AsyncIterator[bytes]) -> bytes:
    """Give what a stream has, waiting for something at first; all of one that nobody can come back to."""
    found: list[bytes] = []
    upcoming: asyncio.Future[bytes] | None = None
    over = asyncio.get_running_loop().time() + LONG_POLL_SECONDS
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(parts))
            await asyncio.wait((upcoming,), timeout=_patience(found, over - asyncio.get_running_loop().time()))
            if not upcoming.done():
                return b"".join(found)
            try:
                found.append(upcoming.result())
            except StopAsyncIteration:
                return b"".join(found)
            upcoming = None
    finally:
        if upcoming is not None and not upcoming.done():
            upcoming.cancel()
            await asyncio.wait((upcoming,))
        close = getattr(parts, "aclose", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):
                await close()


def _patience(found: Sequence[bytes], left: float) -> float | None:
    """Give how long to wait for the next part of a stream, of which there are these and so many seconds left."""
    if not found or not found[0].startswith(server_sent.RETRY):
        # Nobody comes back to it: what is last says what has come of it.
        return None
    if any(part.startswith(b"id:") for part in found):
        return LULL_SECONDS
    return max(left, 0.0)
