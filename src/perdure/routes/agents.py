"""Talking to an agent: one turn of a session."""

from __future__ import annotations

import asyncio
import hashlib
import string
import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from perdure import errors
from perdure.agents import naming, records, requests
from perdure.payloads import refs
from perdure.routes import messages, parameters, problems, sessions, views
from perdure.routes import site as sites
from perdure.workflow import start_input

SESSION_HEADER: Final = "x-ms-session-id"
THREAD_HEADER: Final = "x-ms-thread-id"
TEXT: Final = "text/plain; charset=utf-8"
ACCEPT_IN_THREAD_BYTES: Final = 64 * 1024
"""A body from this size on is read in a thread, so that it holds up nobody else's request."""

_SESSION_NAMES: Final = ("session_id", "thread_id")


class Asked(msgspec.Struct, frozen=True):
    """A request to an agent, read and checked.

    Attributes:
        session_id: The session; made up, or derived from the idempotency key, if none was named.
        correlation_id: Names the request.
        request: What the agent is asked.
        wait: How long the client waits, seconds; 0 for not at all.
        applied: The ``Preference-Applied`` header to answer with; may be empty.
    """

    session_id: str
    correlation_id: str
    request: requests.Request
    wait: float
    applied: str


async def run(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST agents/{name}/run``: one turn of a session; waits for the answer unless told not to."""
    as_text = _answers_in_text(request)
    try:
        return await _run(site, request, as_text=as_text)
    except problems.Problem as problem:
        if not as_text:
            raise
        headers = {"content-type": TEXT, **problem.headers}
        return messages.Reply(problem.status, headers, problem.detail.encode("utf-8", "replace"))


async def _run(site: sites.Site, request: messages.Request, *, as_text: bool) -> messages.Reply:
    agent = site.find_agent(request.params["name"])
    if len(request.body) < ACCEPT_IN_THREAD_BYTES:
        asked, ref, blobs = _accept(site, agent, request)
    else:
        asked, ref, blobs = await asyncio.to_thread(_accept, site, agent, request)
    store = site.conversations
    await store.send(agent.name, asked.session_id, asked.correlation_id, ref, blobs)
    turn = None
    if asked.wait > 0:
        try:
            turn = await store.wait(agent.name, asked.session_id, asked.correlation_id, asked.wait)
        except sessions.SessionGone as gone:
            raise problems.Problem(410, str(gone), kind="session-gone") from gone
    if turn is not None and turn.request_digest not in (b"", records.request_digest(ref)):
        raise problems.Problem(
            409,
            f"The session has had another request under the key {problems.clipped(asked.correlation_id)}; "
            "choose another one.",
            kind="key-used",
        )
    return _answer(asked, turn, as_text=as_text)


def _accept(
    site: sites.Site, agent: sessions.HostedAgent, request: messages.Request
) -> tuple[Asked, refs.Ref, list[refs.Blob]]:
    try:
        asked = read(request, site.agent_wait_seconds, agent.name)
        return asked, *agent.accept(asked.request)
    except errors.EmptyInput as error:
        raise problems.Problem(400, str(error), kind="empty-input") from error
    except errors.InvalidInput as error:
        raise problems.Problem(400, str(error), kind="invalid-input", pointers=error.errors) from error
    except errors.CodecError as error:
        raise problems.Problem(400, str(error), kind="invalid-input") from error


def read(request: messages.Request, wait_seconds: float, agent: str) -> Asked:
    """Read a request to an agent.

    Args:
        request: The HTTP request.
        wait_seconds: How long a client waits that does not say how long.
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
    if not _is_json(messages.media_type(content_type)):
        return {"message": start_input.text(parameters.body(request), content_type).strip()}
    try:
        body: Any = messages.decode(parameters.body(request))
    except msgspec.DecodeError as error:
        raise errors.MalformedInput([("", f"it is not valid JSON: {error}")]) from None
    if not isinstance(body, dict):
        raise errors.InvalidInput([("", "it must be an object")])
    return body


def _is_json(kind: str) -> bool:
    return kind == messages.JSON or kind.endswith("+json")


def _answers_in_text(request: messages.Request) -> bool:
    if _is_json(messages.media_type(request.headers.get("content-type", ""))):
        return False
    accepted = (messages.media_type(part) for part in request.headers.get("accept", "").split(","))
    return messages.JSON not in accepted


def _session_id(request: messages.Request, body: Mapping[str, Any]) -> str | None:
    """Read the session's id from wherever it may stand; blank is absent, and values that disagree are refused."""
    found: dict[str, str] = {}
    for place, source in (("body", body), ("query", request.query)):
        for name in _SESSION_NAMES:
            value = source.get(name)
            if isinstance(value, bool | list | dict):
                raise errors.InvalidInput([(f"/{name}", "it must be a text")])
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
        raise errors.InvalidInput([("/correlation_id", "it must be a text")])
    given = {part for part in (header, (value or "").strip()) if part}
    if len(given) > 1:
        raise problems.Problem(400, "Idempotency-Key and correlation_id disagree. Give one.", kind="invalid-parameter")
    key = next(iter(given), None)
    if key is not None and len(key) > naming.KEY_LIMIT:
        raise problems.bad_value("Idempotency-Key", key, f"at most {naming.KEY_LIMIT} characters")
    return key


def _waiting(request: messages.Request, body: Mapping[str, Any], wait_seconds: float) -> tuple[float, str]:
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
        raise errors.InvalidInput([(f"/{name}", "it must be true or false")])
    return told


def _answer(asked: Asked, turn: sessions.Turn | None, *, as_text: bool) -> messages.Reply:
    status = 202 if turn is None else (200 if turn.status == "success" else 500)
    # Headers hold ASCII only; the body has the id as it is.
    named = quote(asked.session_id, safe=string.printable) if not asked.session_id.isascii() else asked.session_id
    headers = {SESSION_HEADER: named, THREAD_HEADER: named}
    if asked.applied:
        headers["preference-applied"] = asked.applied
    response = "Agent request accepted" if turn is None else turn.text
    reason = None if turn is None else views.error(turn.failure)
    if as_text:
        text = reason if reason is not None else response
        return messages.Reply(status, {"content-type": TEXT, **headers}, text.encode("utf-8", "replace"))
    shown: dict[str, Any] = {
        "response": response if reason is None else turn.text or None if turn is not None else None,
        "message": asked.request.text,
        "session_id": asked.session_id,
        "thread_id": asked.session_id,
        "status": "accepted" if turn is None else turn.status,
        "correlation_id": asked.correlation_id,
    }
    if turn is not None:
        shown["message_count"] = 2 * turn.number
        if turn.requests:
            shown["requests"] = list(turn.requests)
    if reason is not None:
        shown["error"] = reason
    return messages.json(shown, status, headers)
