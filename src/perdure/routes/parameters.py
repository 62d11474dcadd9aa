"""What a request asks beside its body: query values and preference headers, checked."""

from __future__ import annotations

import datetime
import math
import re

import msgspec

from perdure.agents import naming
from perdure.routes import messages, problems

RUN_ID_LIMIT = 100
MAX_WAIT_SECONDS = 200
DEFAULT_WAIT_SECONDS = 10.0

_TRUE = frozenset({"true", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "0", "no", "n", "off"})
_ILLEGAL_IN_RUN_ID = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


class Waiting(msgspec.Struct, frozen=True):
    """Whether the client waits for the run to end.

    Attributes:
        seconds: How long at most; 0 for not at all.
        applied: The ``Preference-Applied`` header to answer with; empty if no preference was asked for.
    """

    seconds: float
    applied: str = ""


def body(request: messages.Request) -> bytes:
    """Give the body as it was meant.

    Raises:
        Problem: 415 if it is compressed.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity") and request.body:
        raise problems.Problem(
            415,
            f"The body has the content encoding {problems.clipped(encoding)}; send it as it is, without any.",
            kind="content-encoding",
            headers={"accept-encoding": "identity"},
        )
    return request.body


def run_id(request: messages.Request) -> str | None:
    """Read ``?runId=``; None when it is not given.

    Raises:
        Problem: 400 if it is no legal run id.
    """
    value = request.query.get("runId")
    return None if value is None else legal_run_id("runId", value)


def legal_run_id(name: str, value: str) -> str:
    """Give a run id back if it may be one.

    Raises:
        Problem: 400 if it may not.
    """
    legal = 1 <= len(value) <= RUN_ID_LIMIT and value not in naming.STEPS_OF_PATHS
    if not legal or naming.is_session(value) or _ILLEGAL_IN_RUN_ID.search(value):
        raise problems.bad_value(
            name,
            value,
            f"1 to {RUN_ID_LIMIT} characters, the first not '@', without '/', '\\', '#', '?' and control characters, "
            "neither '.' nor '..', and not a session's",
        )
    return value


def waiting(request: messages.Request) -> Waiting:
    """Read how long the client waits: ``Prefer: wait=N`` first, then ``waitForResponse`` with ``timeoutSeconds``.

    Raises:
        Problem: 400 for a value that is not allowed.
    """
    seconds = DEFAULT_WAIT_SECONDS
    timeout = request.query.get("timeoutSeconds")
    if timeout is not None:
        seconds = _number("timeoutSeconds", timeout, 1, MAX_WAIT_SECONDS)
    asked = _wait_for_response(request)
    preferred = prefer_wait(request.headers.get("prefer", ""))
    if preferred is not None:
        return Waiting(float(preferred), f"wait={preferred}")
    return Waiting(seconds if asked else 0.0)


def _wait_for_response(request: messages.Request) -> bool:
    # A header that says neither is no preference, as in Prefer; the query is part of what was asked for.
    told = truth(request.headers.get("x-ms-wait-for-response"))
    if told is not None:
        return told
    query = request.query.get("waitForResponse")
    return query is not None and _boolean("waitForResponse", query)


def prefer_wait(header: str) -> int | None:
    """Read ``wait=N`` out of a ``Prefer`` header, at most :data:`MAX_WAIT_SECONDS`.

    None if it is absent or malformed: a preference that cannot be understood is ignored (RFC 7240).
    """
    found = _PREFER_WAIT.search(header) if header else None
    return min(int(found.group(1)), MAX_WAIT_SECONDS) if found else None


def whole(request: messages.Request, name: str, default: int, low: int, high: int) -> int:
    """Read a whole number from the query.

    Raises:
        Problem: 400 if it is none, or out of bounds.
    """
    value = request.query.get(name)
    return default if value is None else whole_number(name, value, low, high)


def whole_number(name: str, value: str, low: int, high: int) -> int:
    """Read a whole number.

    Raises:
        Problem: 400 if it is none, or out of bounds.
    """
    text = value.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise problems.bad_value(name, value, f"a whole number from {low} to {high}")
    return int(text)


def moment(request: messages.Request, name: str) -> float | None:
    """Read an ISO 8601 time as seconds since the epoch; one without an offset is UTC.

    Raises:
        Problem: 400 if it is no such time.
    """
    value = request.query.get(name)
    if value is None:
        return None
    try:
        # A plus sign that the client left unencoded arrives as a space.
        parsed = datetime.datetime.fromisoformat(value.strip().replace(" ", "+" if "T" in value else "T"))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise problems.bad_value(name, value, "an ISO 8601 time such as 2031-05-04T12:30:00Z") from None


def truth(value: object) -> bool | None:
    """Read what stands for true or false, as a text, a number or itself; None if it stands for neither."""
    if isinstance(value, bool | int | float):
        return bool(value)
    text = value.strip().lower() if isinstance(value, str) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _boolean(name: str, value: str) -> bool:
    told = truth(value)
    if told is not None:
        return told
    raise problems.bad_value(name, value, "true or false")


def _number(name: str, value: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise problems.bad_value(name, value, f"a number of seconds from {low} to {high}")
    return number
