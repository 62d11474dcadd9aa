"""Agents as tools of a model: a question in, a text out. The same on every host that speaks MCP."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from perdure import errors
from perdure.agents import durable_agent, hosted, naming, requests
from perdure.routes import sessions, views
from perdure.workflow import naming as workflow_naming


class Property(NamedTuple):
    """An argument of a tool; its value is a text."""

    name: str
    description: str
    required: bool


PROPERTIES: Final = (
    Property("query", "What to ask the agent.", True),
    Property("sessionId", "Names a conversation: the same again continues it. A new one if left out.", False),
)
SESSION_NAMES: Final = ("sessionId", "threadId")
"""Arguments that name the session; the second is the old name."""


_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Answer(NamedTuple):
    """What came of a call.

    Attributes:
        text: What the agent answered, or why it did not.
        session_id: The session; None with an error.
        is_error: Whether it is an error.
    """

    text: str
    session_id: str | None = None
    is_error: bool = False


class Wrong(errors.PerdureError):
    """A call that fails; its message goes to whoever called, most likely a model."""


def tool_name(agent: str) -> str:
    """Name an agent's tool: as the agent, where the protocol allows such a name."""
    return agent if _TOOL_NAME.fullmatch(agent) else workflow_naming.legal(agent)


def description(agent: hosted.HostedAgent) -> str:
    """Say what an agent's tool is good for."""
    return agent.description or f"Asks the agent {agent.name}."


async def answer(
    held: sessions.Sessions, agent: hosted.HostedAgent, arguments: Mapping[str, Any], wait_seconds: float
) -> Answer:
    """Ask an agent.

    Args:
        held: The sessions.
        agent: The agent.
        arguments: Those of the call: ``query``, and perhaps ``sessionId``.
        wait_seconds: How long to wait for the answer.
    """
    try:
        return await _ask(held, agent, arguments, wait_seconds)
    except errors.PerdureError as error:
        return Answer(str(error), is_error=True)


async def _ask(
    held: sessions.Sessions, agent: hosted.HostedAgent, arguments: Mapping[str, Any], wait_seconds: float
) -> Answer:
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
    return Answer(turn.text, session_id)


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
