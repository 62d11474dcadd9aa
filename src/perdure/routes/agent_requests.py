"""A request to an agent, as HTTP says it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from perdure import errors
from perdure.agents import naming, requests
from perdure.routes import messages, parameters, problems
from perdure.workflow import start_input

_SESSION_NAMES: Final = ("session_id", "thread_id")


class Asked(msgspec.Struct, frozen=True):
    """A request to an agent, read and checked.

    Attributes:
        session_id: The session; made up, or derived from the idempotency key, if none was named.
        correlation_id: Names the request.
        request: What the agent is asked.
        wait: How long the client waits, seconds; 0 for not at all, None for as long as it takes.
        applied: The ``Preference-Applied`` header to answer with; may be empty.
    """

    session_id: str
    correlation_id: str
    request: requests.Request
    wait: float | None
    applied: str


def read(request: messages.Request, wait_seconds: float | None, agent: str) -> Asked:
    """Read a request to an agent.

    Args:
        request: The HTTP request.
        wait_seconds: How long a client waits that does not say how long; None for as long as it takes.
        agent: The agent's name.

    Raises:
        EmptyInput: If there is no message.
        InvalidInput: If the body is not what it may be.
        Problem: 400 if a header or a query value is not, or names of the session disagree.
    """
    body = _body(request)
    asked = requests.read(
        body.get("message"),
        role=body.get("role"),
        response_format=body.get("response_format"),
        tools=_flag(body, "enable_tool_calls", True),
        options=body.get("options"),
    )
    key = _key(request, body)
    session_id = _session_id(request, body)
    if session_id is None:
        # A retry without the id, which its sender may never have seen, must find the same session.
        named = f"{agent.casefold()}\0{key}".encode()
        session_id = hashlib.blake2b(named, digest_size=16).hexdigest() if key else uuid.uuid4().hex
    seconds, applied = _waiting(request, body, wait_seconds)
    return Asked(session_id, key or uuid.uuid4().hex, asked, seconds, applied)


def legal_session_id(value: str) -> str:
    """Give a session id back if it may be one.

    Raises:
        Problem: 400 if it may not.
    """
    try:
        return naming.legal_session_key(value)
    except ValueError as error:
        raise problems.Problem(400, str(error), kind="invalid-parameter") from error


def _body(request: messages.Request) -> Mapping[str, Any]:
    content_type = request.headers.get("content-type", "")
    if not is_json(messages.media_type(content_type)):
        return {"message": start_input.text(parameters.body(request), content_type).strip()}
    try:
        body: Any = messages.decode(parameters.body(request))
    except msgspec.DecodeError as error:
        raise errors.MalformedInput([("", f"it is not valid JSON: {error}")]) from None
    if not isinstance(body, dict):
        raise errors.InvalidInput.at("", "it must be an object")
    return body


def is_json(kind: str) -> bool:
    """Say whether a media type is JSON."""
    return kind == messages.JSON or kind.endswith("+json")


def _session_id(request: messages.Request, body: Mapping[str, Any]) -> str | None:
    """Read the session's id from wherever it may stand; blank is absent, and values that disagree are refused."""
    found: dict[str, str] = {}
    for place, source in (("body", body), ("query", request.query)):
        for name in _SESSION_NAMES:
            value = source.get(name)
            if isinstance(value, bool | list | dict):
                raise errors.InvalidInput.at(f"/{name}", "it must be a text")
            if value is not None and str(value).strip():
                found[f"{name} in the {place}"] = str(value)
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name}={problems.clipped(value)}" for name, value in found.items())
        raise problems.Problem(400, f"The names of the session disagree: {told}. Give one.", kind="invalid-parameter")
    return legal_session_id(next(iter(found.values()))) if found else None


def _key(request: messages.Request, body: Mapping[str, Any]) -> str | None:
    """Read the idempotency key: the header, or the body's correlation id."""
    header = request.headers.get("idempotency-key", "").strip().strip('"')
    value = body.get("correlation_id")
    if value is not None and not isinstance(value, str):
        raise errors.InvalidInput.at("/correlation_id", "it must be a text")
    given = {part for part in (header, (value or "").strip()) if part}
    if len(given) > 1:
        raise problems.Problem(400, "Idempotency-Key and correlation_id disagree. Give one.", kind="invalid-parameter")
    key = next(iter(given), None)
    if key is not None and len(key) > naming.KEY_LIMIT:
        raise problems.bad_value("Idempotency-Key", key, f"at most {naming.KEY_LIMIT} characters")
    return key


def _waiting(
    request: messages.Request, body: Mapping[str, Any], wait_seconds: float | None
) -> tuple[float | None, str]:
    preferred = parameters.prefer_wait(request.headers.get("prefer", ""))
    if preferred is not None:
        return float(preferred), f"wait={preferred}"
    for value in (
        request.headers.get("x-ms-wait-for-response"),
        request.query.get("wait_for_response"),
        body.get("wait_for_response"),
    ):
        told = parameters.truth(value)
        if told is not None:
            return (wait_seconds if told else 0.0), ""
    return wait_seconds, ""


def _flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    value = body.get(name)
    if value is None:
        return default
    told = parameters.truth(value)
    if told is None:
        raise errors.InvalidInput.at(f"/{name}", "it must be true or false")
    return told
