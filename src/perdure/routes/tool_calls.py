"""Agents as tools of a model: a question in, a text out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from perdure import errors
from perdure.agents import durable_agent, hosted, naming, requests
from perdure.routes import sessions, views

SESSION_NAMES: Final = ("sessionId", "threadId")
"""Arguments that name the session; the second is the old name."""


class Wrong(errors.PerdureError):
    """A call that fails; its message goes to whoever called, most likely a model."""


async def ask(
    held: sessions.Sessions, agent: hosted.HostedAgent, arguments: Mapping[str, Any], wait_seconds: float
) -> tuple[str, str]:
    """Ask an agent; gives the session's id and the answer.

    Args:
        held: The sessions.
        agent: The agent.
        arguments: Those of the call: ``query``, and perhaps ``sessionId``.
        wait_seconds: How long to wait for the answer.

    Raises:
        Wrong: If the arguments are none, or the agent fails or takes too long.
    """
    session_id = _session_id(agent.name, arguments)
    query = arguments.get("query")
    if not isinstance(query, str) or not query.strip():
        raise Wrong("The argument 'query' is missing: it must be a text.")
    ref, blobs = agent.accept(requests.read(query))
    correlation_id = uuid.uuid4().hex
    await held.send(agent.name, session_id, correlation_id, ref, blobs)
    turn = await held.wait(agent.name, session_id, correlation_id, wait_seconds)
    if turn is None:
        raise Wrong(
            f"The agent has not answered within {wait_seconds:g} seconds. It goes on: "
            f"ask again with the sessionId {session_id!r}, after a while."
        )
    if turn.failure is not None:
        raise Wrong(f"The agent failed: {views.error(turn.failure)}")
    return session_id, turn.text


def _session_id(agent: str, arguments: Mapping[str, Any]) -> str:
    """Read the session's id from its names; blank is absent, and values that disagree are refused."""
    found: set[str] = set()
    for name in SESSION_NAMES:
        value = arguments.get(name)
        if value is not None and not isinstance(value, str):
            raise Wrong(f"The argument {name!r} must be a text.")
        if value is not None and value.strip():
            found.add(value.strip())
    if len(found) > 1:
        raise Wrong(f"The arguments {' and '.join(SESSION_NAMES)} disagree. Give one.")
    if not found:
        return uuid.uuid4().hex
    try:
        return naming.legal_session_key(durable_agent.AgentSessionId.parse(found.pop(), agent).key)
    except ValueError as error:
        raise Wrong(str(error)) from error
