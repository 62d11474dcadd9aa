"""Durable names: those of ``agent-framework-azurefunctions``, so that an app can move without losing its links."""

from __future__ import annotations

import hashlib
import re
from typing import Final

PREFIX: Final = "dafx-"
"""What every durable name begins with."""

SOLE_NAME: Final = "workflow"
"""What a sole workflow without a name of its own is called."""

NAME_LIMIT: Final = 100
EXECUTOR_LIMIT: Final = 256
SEPARATOR: Final = "~"
"""Joins the hops of a sub-workflow's request id; no executor id may hold it."""

_AUTOMATIC: Final = re.compile(r"^WorkflowBuilder-[0-9a-fA-F-]{36}$")
_LEGAL: Final = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*$")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")


def is_automatic(name: str | None) -> bool:
    """Say whether a workflow has no name of its own: the builder then makes up another one in each process."""
    return not name or _AUTOMATIC.match(name) is not None


def legal(name: str) -> str:
    """Give a legal function name: what is none is sanitised and gets 8 hex digits of its digest."""
    if _LEGAL.match(name) and len(name) <= NAME_LIMIT:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    if len(name) > NAME_LIMIT:
        return f"x{digest}"
    clean = _ILLEGAL.sub("_", name)
    return f"{clean if clean[:1].isalpha() else f'x{clean}'}-{digest[:8]}"


def orchestration(workflow: str) -> str:
    """Name of a workflow's orchestration."""
    return f"{PREFIX}{legal(workflow)}"


def place(path: str, executor: str) -> str:
    """Name an executor within its run: what wraps it, from the top, and itself."""
    return f"{path}{SEPARATOR}{executor}" if path else executor


def chain(place: str) -> list[str]:
    """Give the places of what wraps an executor, from the top, and its own."""
    parts = place.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(1, len(parts) + 1)]


def hops(path: str) -> str:
    """Give what stands before the ids of requests that come from inside these executors."""
    return "".join(f"{name}{SEPARATOR}0{SEPARATOR}" for name in path.split(SEPARATOR)) if path else ""


def shown(place: str) -> str:
    """Name a place to people."""
    return place.replace(SEPARATOR, "/")


def activity(workflow: str, executor: str) -> str:
    """Name of an executor's activity; one in a sub-workflow is given by its place."""
    return f"{PREFIX}{legal(workflow)}-{legal(executor)}"


def check_executor(executor: str) -> None:
    """Refuse an executor id that cannot be addressed.

    Raises:
        ValueError: If it is too long or holds the separator of request ids.
    """
    if SEPARATOR in executor or len(executor) > EXECUTOR_LIMIT:
        raise ValueError(
            f"The executor id {executor[:64]!r} cannot be addressed: ids have at most {EXECUTOR_LIMIT} characters "
            f"and no {SEPARATOR!r}, which joins the ids of requests. Give the executor another id."
        )
