"""Requests of the management API: what their parameters say, and how one is refused."""

from __future__ import annotations

import datetime
from typing import Any

from perdure.routes import messages


def refusal(code: int, message: str, error: Exception | None = None) -> messages.Reply:
    """Give the answer that says what is wrong with a request, as the extension says it."""
    said: dict[str, Any] = {"Message": message}
    if error is not None:
        why = str(error.args[0]) if error.args else str(error)
        said |= {"ExceptionMessage": why, "ExceptionType": type(error).__name__}
    return messages.json(said, code)


def boolean(request: messages.Request, name: str, *, default: bool) -> bool:
    """Read a parameter that is true or false; what it is where it says neither is the default."""
    return {"true": True, "false": False}.get(text(request, name).casefold(), default)


def number(request: messages.Request, name: str) -> float | None:
    """Read a number; None where there is none."""
    try:
        return float(text(request, name))
    except ValueError:
        return None


def moment(request: messages.Request, name: str) -> float | None:
    """Read a time, seconds since the epoch; one without an offset is in UTC. None where there is none."""
    try:
        found = datetime.datetime.fromisoformat(text(request, name))
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)).timestamp()


def statuses(request: messages.Request) -> list[str]:
    """Read the runtime statuses that are asked for."""
    asked = [part.strip().capitalize() for part in text(request, "runtimeStatus").split(",")]
    return [name for name in asked if name]


def text(request: messages.Request, name: str) -> str:
    """Read a parameter by its name in any case; empty where it is not given."""
    folded = name.casefold()
    return next((value for key, value in request.query.items() if key.casefold() == folded), "")
