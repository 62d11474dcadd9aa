"""What a failure says of itself beyond its words: which exceptions it is made of, and whether trying again may help."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Iterator, Mapping
from typing import Any, Final

TRANSIENT: Final = "@transient"
"""Kind of what may go away by itself: too many requests, a server's own error, a connection, a time that ran out."""

MODEL: Final = "@model"
"""Kind of what comes from an agent or a model's client."""

UNHEARD: Final = "@unheard"
"""Kind of what an agent failed with before anything of its answer had come."""

CHOSEN: Final = "@chosen"
"""Kind of what the predicate of a retry policy said yes to."""

_CHOSEN_ATTRIBUTE: Final = "__perdure_chosen__"
_DEPTH_LIMIT: Final = 16
_TOO_MANY, _TIMEOUT, _FIRST_SERVER_ERROR, _LAST_STATUS = 429, 408, 500, 599
_CONNECTIONS: Final = frozenset(
    {
        "APIConnectionError",
        "APITimeoutError",
        "ClientConnectionError",
        "ConnectionError",
        "ServerTimeoutError",
        "ServiceRequestError",
        "ServiceResponseError",
        "TimeoutError",
        "TransportError",
    }
)
"""Classes of the usual clients for a connection that broke or a time that ran out; aiohttp, azure, httpx, openai."""
_MODEL_PACKAGES: Final = frozenset({"agent_framework", "anthropic", "mistralai", "ollama", "openai"})


def choose(error: BaseException) -> None:
    """Remember of an exception that the predicate of a retry policy said yes to it."""
    setattr(error, _CHOSEN_ATTRIBUTE, True)


def kinds(error: BaseException) -> tuple[str, ...]:
    """Give the dotted names of an exception's classes and of its causes', and what kind of failure it is."""
    found: dict[str, None] = {}
    for link in _chain(error):
        status = _status(link)
        # A status decides: a connection that carried a 401 is none that broke.
        if _is_transient(status) if status is not None else _is_connection(link):
            found[TRANSIENT] = None
        if getattr(link, _CHOSEN_ATTRIBUTE, False):
            found[CHOSEN] = None
        for base in type(link).__mro__[:-1]:
            found[name(base)] = None
            if base.__module__.partition(".")[0] in _MODEL_PACKAGES:
                found[MODEL] = None
    return tuple(found)


def name(kind: type) -> str:
    """Give the dotted name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def retry_after(error: BaseException, now: float) -> float | None:
    """Give how many seconds a service asked to be left alone; None if it did not say.

    Args:
        error: The exception.
        now: Seconds since the epoch, for a service that names a date.
    """
    for link in _chain(error):
        told = getattr(link, "retry_after", None)
        if isinstance(told, (int, float)) and not isinstance(told, bool):
            return max(0.0, float(told))
        headers = getattr(getattr(link, "response", None), "headers", None) or getattr(link, "headers", None)
        if isinstance(headers, Mapping) or hasattr(headers, "get"):
            found = _from_headers(headers, now)
            if found is not None:
                return found
    return None


def _from_headers(headers: Any, now: float) -> float | None:
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        seconds = _number(milliseconds)
        if seconds is not None:
            return seconds / 1000
    told = headers.get("retry-after") or headers.get("Retry-After")
    if told is None:
        return None
    seconds = _number(told)
    if seconds is not None:
        return seconds
    try:
        moment = email.utils.parsedate_to_datetime(str(told))
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, moment.timestamp() - now)


def _number(text: Any) -> float | None:
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, its causes, and the members of a group, each once."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo and len(seen) < _DEPTH_LIMIT:
        link = todo.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            todo += link.exceptions
        # The framework's own exceptions carry what they wrap among their arguments.
        todo += [item for item in link.args if isinstance(item, BaseException)]
        todo.append(link.__cause__)
        if not link.__suppress_context__:
            todo.append(link.__context__)


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    candidates = (getattr(error, "status_code", None), getattr(error, "status", None))
    for status in (*candidates, getattr(response, "status_code", None), getattr(response, "status", None)):
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def _is_transient(status: int) -> bool:
    return status in (_TOO_MANY, _TIMEOUT) or _FIRST_SERVER_ERROR <= status <= _LAST_STATUS


def _is_connection(error: BaseException) -> bool:
    return any(base.__name__ in _CONNECTIONS for base in type(error).__mro__)
