"""Talking to an agent: one turn of a session."""

from __future__ import annotations

import asyncio
import contextlib
import string
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import quote

from perdure import errors
from perdure.agents import records
from perdure.payloads import refs
from perdure.routes import agent_requests, messages, problems, server_sent, sessions, views
from perdure.routes import site as sites

SESSION_HEADER: Final = "x-ms-session-id"
THREAD_HEADER: Final = "x-ms-thread-id"
TEXT: Final = "text/plain; charset=utf-8"
ACCEPT_IN_THREAD_BYTES: Final = 64 * 1024
"""A body from this size on is read in a thread, so that it holds up nobody else's request."""


async def run(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``POST agents/{name}/run``: one turn of a session; waits for the answer unless told not to."""
    if _answers_in_events(request):
        return await _stream(site, request)
    as_text = _answers_in_text(request)
    try:
        return await _run(site, request, as_text=as_text)
    except problems.Problem as problem:
        if not as_text:
            raise
        headers = {"content-type": TEXT, **problem.headers}
        return messages.Reply(problem.status, headers, problem.detail.encode("utf-8", "replace"))


async def _run(site: sites.Site, request: messages.Request, *, as_text: bool) -> messages.Reply:
    agent, asked, ref, blobs = await _accepted(site, request, site.agent_wait_seconds)
    store = site.conversations
    await store.send(agent.name, asked.session_id, asked.correlation_id, ref, blobs)
    turn = None
    if asked.wait is None or asked.wait > 0:
        try:
            turn = await store.wait(agent.name, asked.session_id, asked.correlation_id, asked.wait)
        except sessions.SessionGone as gone:
            raise _gone(gone) from gone
    _check_key(asked, ref, turn)
    if as_text:
        return _text(asked, turn)
    return messages.json(_shown(asked, turn), _status(turn), _headers(asked))


async def _stream(site: sites.Site, request: messages.Request) -> messages.Reply:
    """Answer with what the agent says while it says it, and in the end with what the plain answer would have been."""
    agent, asked, ref, blobs = await _accepted(site, request, site.stream_wait_seconds)
    said = site.conversations.ask(agent.name, asked.session_id, asked.correlation_id, ref, blobs, asked.wait)
    try:
        # Accepted for good before anything is answered: until here a refusal has a status of its own.
        await anext(said)
    except BaseException:
        await said.aclose()
        raise
    headers = {**server_sent.HEADERS, **_headers(asked)}
    return messages.Reply(200, headers, server_sent.alive(_frames(said, asked, ref)))


async def _frames(
    said: AsyncGenerator[sessions.Said], asked: agent_requests.Asked, ref: refs.Ref
) -> AsyncGenerator[bytes]:
    turn: sessions.Turn | None = None
    async with contextlib.aclosing(said):
        try:
            async for item in said:
                if isinstance(item, sessions.Delta):
                    yield server_sent.frame("delta", {"attempt": item.attempt, "data": item.data})
                elif isinstance(item, sessions.Turn):
                    turn = item
            _check_key(asked, ref, turn)
        except sessions.SessionGone as gone:
            yield _problem(_gone(gone))
        except errors.HubError as error:
            yield _problem(problems.Problem(503, str(error), kind="hub"))
        except problems.Problem as problem:
            yield _problem(problem)
        else:
            yield server_sent.frame("answer", _shown(asked, turn))


def _problem(problem: problems.Problem) -> bytes:
    return server_sent.frame("problem", problems.shown(problem))


async def _accepted(
    site: sites.Site, request: messages.Request, wait_seconds: float | None
) -> tuple[sessions.HostedAgent, agent_requests.Asked, refs.Ref, list[refs.Blob]]:
    agent = site.find_agent(request.params["name"])
    if len(request.body) < ACCEPT_IN_THREAD_BYTES:
        return agent, *_accept(agent, request, wait_seconds)
    return agent, *await asyncio.to_thread(_accept, agent, request, wait_seconds)


def _accept(
    agent: sessions.HostedAgent, request: messages.Request, wait_seconds: float | None
) -> tuple[agent_requests.Asked, refs.Ref, list[refs.Blob]]:
    try:
        asked = agent_requests.read(request, wait_seconds, agent.name)
        return asked, *agent.accept(asked.request)
    except errors.EmptyInput as error:
        raise problems.Problem(400, str(error), kind="empty-input") from error
    except errors.InvalidInput as error:
        raise problems.Problem(400, str(error), kind="invalid-input", pointers=error.errors) from error
    except errors.CodecError as error:
        raise problems.Problem(400, str(error), kind="invalid-input") from error


def _check_key(asked: agent_requests.Asked, ref: refs.Ref, turn: sessions.Turn | None) -> None:
    if turn is not None and turn.request_digest not in (b"", records.request_digest(ref)):
        raise problems.Problem(
            409,
            f"The session has had another request under the key {problems.clipped(asked.correlation_id)}; "
            "choose another one.",
            kind="key-used",
        )


def _gone(gone: sessions.SessionGone) -> problems.Problem:
    return problems.Problem(410, str(gone), kind="session-gone")


def _answers_in_events(request: messages.Request) -> bool:
    # Who takes both gets the plain answer: clients of other hosts name all that they can read.
    accepted = _accepted_types(request)
    return messages.EVENT_STREAM in accepted and messages.JSON not in accepted


def _answers_in_text(request: messages.Request) -> bool:
    if agent_requests.is_json(messages.media_type(request.headers.get("content-type", ""))):
        return False
    return messages.JSON not in _accepted_types(request)


def _accepted_types(request: messages.Request) -> list[str]:
    return [messages.media_type(part) for part in request.headers.get("accept", "").split(",")]


def _status(turn: sessions.Turn | None) -> int:
    return 202 if turn is None else (200 if turn.status == "success" else 500)


def _headers(asked: agent_requests.Asked) -> dict[str, str]:
    # Headers hold ASCII only; the body has the id as it is.
    named = quote(asked.session_id, safe=string.printable) if not asked.session_id.isascii() else asked.session_id
    headers = {SESSION_HEADER: named, THREAD_HEADER: named}
    if asked.applied:
        headers["preference-applied"] = asked.applied
    return headers


def _reason(turn: sessions.Turn | None) -> str | None:
    return None if turn is None else views.error(turn.failure)


def _response(turn: sessions.Turn | None) -> str:
    return "Agent request accepted" if turn is None else turn.text


def _text(asked: agent_requests.Asked, turn: sessions.Turn | None) -> messages.Reply:
    reason = _reason(turn)
    text = reason if reason is not None else _response(turn)
    return messages.Reply(_status(turn), {"content-type": TEXT, **_headers(asked)}, text.encode("utf-8", "replace"))


def _shown(asked: agent_requests.Asked, turn: sessions.Turn | None) -> dict[str, Any]:
    reason = _reason(turn)
    shown: dict[str, Any] = {
        "response": _response(turn) if reason is None else _response(turn) or None,
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
    return shown
