"""Durable names of agents and their sessions."""

from __future__ import annotations

import re
from typing import Final

from perdure.workflow import naming

TURN: str = "turn"

KEY_LIMIT: Final = 255
STEPS_OF_PATHS: Final = (".", "..")
"""What no id may be: it stands in addresses, out of which clients take such parts before they send one."""

_LIFE: Final = re.compile(r"session\.(\d+)(@.*)", re.DOTALL)
_ILLEGAL: Final = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")


def orchestration(agent: str) -> str:
    """Name of the orchestration that an agent's sessions are."""
    return naming.orchestration(agent)


def entity(agent: str) -> str:
    """Name of the entity that an agent is to orchestrations."""
    return orchestration(agent)


def legal_session_key(key: str) -> str:
    """Give a session's key back if it may be one.

    Raises:
        ValueError: If it may not.
    """
    if not 1 <= len(key) <= KEY_LIMIT or key in STEPS_OF_PATHS or _ILLEGAL.search(key):
        raise ValueError(
            f"session_id is {key[:64]!r}; ids of sessions have 1 to {KEY_LIMIT} characters, "
            "without '/', '\\', '#', '?' and control characters, and are neither '.' nor '..'."
        )
    return key


def activity(agent: str) -> str:
    """Name of the activity that runs an agent."""
    return naming.activity(agent, TURN)


def instance(agent: str, session_key: str) -> str:
    """Instance id of a session, as Durable entities are named; no run can have such an id."""
    return f"@{naming.orchestration(agent).lower()}@{session_key}"


def life(session: str, number: int) -> str:
    """Give the instance id of a life of a session where that is an orchestration; ``@...`` would be an entity's."""
    return f"session.{number}{session}"


def life_of(instance_id: str) -> tuple[str, int] | None:
    """Give the session that a life is of, and its number; None if it is none."""
    found = _LIFE.fullmatch(instance_id)
    return None if found is None else (found[2], int(found[1]))


def session_key(instance_id: str) -> str:
    """Give the session's key, as clients name it, out of its instance id."""
    return instance_id.split("@", 2)[2]


def is_session(instance_id: str) -> bool:
    """Say whether an instance is a session."""
    return instance_id.startswith("@") or life_of(instance_id) is not None
