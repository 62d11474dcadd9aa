"""The actions of an orchestrator, as the SDK writes down what its code asks for."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeAlias

Action: TypeAlias = Mapping[str, Any]


class Type(enum.IntEnum):
    """The types of actions, as the SDK numbers them."""

    ACTIVITY = 0
    RETRIED_ACTIVITY = 1
    CHILD = 2
    RETRIED_CHILD = 3
    CONTINUE_AS_NEW = 4
    TIMER = 5
    EVENT = 6
    ENTITY_CALL = 7
    HTTP = 8
    ENTITY_SIGNAL = 9
    ANY = 11
    ALL = 12


def told(action: Action) -> str:
    """Name an action for people."""
    match action["actionType"]:
        case Type.ACTIVITY | Type.RETRIED_ACTIVITY:
            return f"activity {action['functionName']!r}"
        case Type.CHILD | Type.RETRIED_CHILD:
            return f"sub-orchestration {action['functionName']!r}"
        case Type.TIMER:
            return f"the timer at {action['fireAt']}"
        case Type.EVENT:
            return f"event {action['externalEventName']!r}"
        case Type.ENTITY_CALL | Type.ENTITY_SIGNAL:
            return f"entity {action['instanceId']!r}"
        case Type.HTTP:
            return "call_http"
        case Type.ANY | Type.ALL as type:
            word = "one" if type == Type.ANY else "all"
            return f"{word} of ({', '.join(told(part) for part in action['compoundActions'])})"
        case _:
            return "continue_as_new"
