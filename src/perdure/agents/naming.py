"""Durable names of agents and their sessions."""

from __future__ import annotations

from perdure.workflow import naming

TURN: str = "turn"


def orchestration(agent: str) -> str:
    """Name of an agent's orchestration, and of its entity."""
    return naming.orchestration(agent)


def activity(agent: str) -> str:
    """Name of the activity that runs an agent."""
    return naming.activity(agent, TURN)


def instance(agent: str, session_key: str) -> str:
    """Instance id of a session, as Durable entities are named; no run can have such an id."""
    return f"@{naming.orchestration(agent).lower()}@{session_key}"


def session_key(instance_id: str) -> str:
    """Give the session's key, as clients name it, out of its instance id."""
    return instance_id.split("@", 2)[2]


def is_session(instance_id: str) -> bool:
    """Say whether an instance is a session."""
    return instance_id.startswith("@")
