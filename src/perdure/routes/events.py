"""A run's event log: as a stream of server-sent events, or in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from perdure.routes import messages, parameters, runs, server_sent, views, workflows
from perdure.routes import site as sites

RECONNECT_MILLISECONDS = 1000
DEFAULT_PAGE = 1000
MAX_PAGE = 10_000
MAX_EVENT_ID = 10**15

_OPENING = b"%s%d\n\n" % (server_sent.RETRY, RECONNECT_MILLISECONDS)


async def log(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET workflow/{name}/events/{id}``: what happened so far and what will, until the final event."""
    after = _after(request)
    if _wants_page(request):
        limit = parameters.whole(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
        run = await workflows.run_of(site, request)
        return await _page(site, request, run, after, limit)
    run = await workflows.run_of(site, request)
    return messages.Reply(200, server_sent.HEADERS, stream(site.runs, run.id, after))


def _after(request: messages.Request) -> int:
    # A browser that reconnects repeats its first address: what it saw last since then counts.
    last = request.headers.get("last-event-id", "").strip()
    if last:
        return parameters.whole_number("Last-Event-ID", last, 0, MAX_EVENT_ID)
    return parameters.whole(request, "after", 0, 0, MAX_EVENT_ID)


def _wants_page(request: messages.Request) -> bool:
    accept = request.headers.get("accept", "").lower()
    return messages.JSON in accept and messages.EVENT_STREAM not in accept


async def _page(site: sites.Site, request: messages.Request, run: runs.Run, after: int, limit: int) -> messages.Reply:
    events = await site.runs.events(run.id, after, limit)
    last = events[-1].id if events else after
    more = run.status not in runs.ENDED or len(events) == limit
    link = f"{site.link(request, 'workflow', run.workflow, 'events', run.id)}?after={last}&limit={limit}"
    shown = {"instanceId": run.id, "events": [views.event(item) for item in events], "next": link if more else None}
    return messages.json(shown)


def stream(
    store: runs.Runs, run_id: str, after: int, heartbeat: float = server_sent.HEARTBEAT_SECONDS
) -> AsyncIterator[bytes]:
    """Give a run's events as server-sent events, with a comment whenever there was none for ``heartbeat`` seconds."""
    return server_sent.alive(_frames(store, run_id, after), heartbeat)


async def _frames(store: runs.Runs, run_id: str, after: int) -> AsyncGenerator[bytes]:
    yield _OPENING
    source = store.follow(run_id, after, live=True)
    try:
        async for event in source:
            yield server_sent.frame(event.type, views.event(event), event.id)
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
