"""The sessions of an agent: list, read, reset, delete."""

from __future__ import annotations

from typing import Any, Final

from perdure import errors
from perdure.routes import messages, parameters, problems, sessions, views
from perdure.routes import site as sites

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000


async def hosted(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET agents``: which agents can be talked to, and where."""
    shown = [
        {
            "name": agent.name,
            "description": agent.description,
            "run_uri": site.link(request, "agents", agent.name, "run"),
            "sessions_uri": site.link(request, "agents", agent.name, "sessions"),
        }
        for agent in site.hosted_agents.values()
        if agent.http_endpoint
    ]
    return messages.json({"agents": shown})


async def listing(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET agents/{name}/sessions``: newest first, by prefix of the id, in pages."""
    agent = site.find_agent(request.params["name"])
    cursor = request.query.get("cursor")
    limit = parameters.whole(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
    try:
        page = await site.conversations.query(agent.name, request.query.get("prefix", ""), cursor, limit)
    except errors.UsageError:
        raise problems.bad_value("cursor", cursor or "", "the cursor of the page before, unchanged") from None
    return messages.json({"sessions": [view(found) for found in page.sessions], "cursor": page.cursor})


async def read(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET agents/{name}/sessions/{id}``: a session with its newest turns, or those before a cursor."""
    agent = site.find_agent(request.params["name"])
    session_id = request.params["id"]
    cursor = request.query.get("cursor")
    limit = parameters.whole(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
    try:
        found = await site.conversations.read(agent.name, session_id, cursor, limit)
    except errors.UsageError:
        raise problems.bad_value("cursor", cursor or "", "the cursor of the page before, unchanged") from None
    if found is None:
        raise unknown(session_id)
    turns = [_turn(turn) for turn in found.turns]
    return messages.json({**view(found.session), "turns": turns, "cursor": found.cursor})


async def reset(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST agents/{name}/sessions/{id}/reset``: forget the conversation, after the turns accepted before."""
    agent = site.find_agent(request.params["name"])
    session_id = request.params["id"]
    if not await site.conversations.reset(agent.name, session_id):
        raise unknown(session_id)
    found = await site.conversations.get(agent.name, session_id)
    waits = found is not None and found.pending > 0
    shown = {"session_id": session_id, "thread_id": session_id, "status": "accepted" if waits else "reset"}
    return messages.json(shown, 202 if waits else 200)


async def delete(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``DELETE agents/{name}/sessions/{id}``: delete a session with all that it kept."""
    agent = site.find_agent(request.params["name"])
    session_id = request.params["id"]
    if not await site.conversations.delete(agent.name, session_id):
        raise unknown(session_id)
    return messages.Reply(204, {})


def unknown(session_id: str) -> problems.Problem:
    """Refuse a session id that the agent has no session of."""
    return problems.Problem(404, f"There is no session {problems.clipped(session_id)} here.", kind="unknown-session")


def view(session: sessions.Session) -> dict[str, Any]:
    """Show a session."""
    return {
        "session_id": session.id,
        "agent": session.agent,
        "created": views.iso(session.created),
        "updated": views.iso(session.updated),
        "message_count": session.message_count,
        "pending": session.pending,
        "expires": views.iso(session.expires) if session.expires else None,
    }


def _turn(turn: sessions.Turn) -> dict[str, Any]:
    shown = {
        "number": turn.number,
        "correlation_id": turn.correlation_id,
        "status": turn.status,
        "accepted": views.iso(turn.accepted),
        "ended": views.iso(turn.ended),
        "request": list(turn.asked),
        "response": list(turn.answered),
        "usage": turn.usage,
    }
    return shown | ({"error": views.error(turn.failure)} if turn.failure is not None else {})
