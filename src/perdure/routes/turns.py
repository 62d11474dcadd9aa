"""Turns of a conversation, read out of a session's log for clients."""

from __future__ import annotations

from typing import Any

import msgspec
from agent_framework import AgentResponseUpdate

from perdure import errors
from perdure.agents import hosted, log, records, requests
from perdure.payloads import refs
from perdure.payloads.codec import plain
from perdure.routes import sessions


def of(
    bound: hosted.Bound,
    instance_id: str,
    ref: refs.Ref,
    entry: records.Entry | None = None,
    *,
    whole: bool = False,
) -> sessions.Turn:
    """Give the turn of an entry.

    Args:
        bound: The agent.
        instance_id: The session.
        ref: The entry.
        entry: The entry itself, if it was read already.
        whole: Whether what was said in it is wanted.

    Raises:
        PayloadMissing: If it is not in the store.
    """
    entry = bound.entry(instance_id, ref) if entry is None else entry
    run = bound.values_of(instance_id)
    response = log.answer(run, entry)
    asked: list[Any] = []
    answered: list[Any] = []
    if whole:
        found = [plain.to_plain(message) for message in log.messages(run, entry)]
        asked = [found[place] for place in entry.asked]
        answered = [found[place] for place in entry.answered]
    return sessions.Turn(
        entry.number,
        entry.correlation_id,
        "success" if entry.failure is None else "error",
        "" if response is None else response.text,
        entry.accepted,
        entry.ended,
        entry.failure,
        None if response is None or response.usage_details is None else dict(response.usage_details),
        asked,
        answered,
        entry.request,
        [] if response is None else [plain.to_plain(content) for content in requests.open_in(response)],
    )


def parts(bound: hosted.Bound, instance_id: str, ref: refs.Ref) -> list[sessions.Delta]:
    """Give the answer in the turn of an entry as who listens would hear it, one part for each message.

    Raises:
        PayloadMissing: If it is not in the store.
    """
    response = log.answer(bound.values_of(instance_id), bound.entry(instance_id, ref))
    if response is None:
        return []
    updates = [
        AgentResponseUpdate(
            contents=message.contents,
            role=message.role,
            author_name=message.author_name,
            response_id=response.response_id,
            message_id=message.message_id,
        )
        for message in response.messages
    ]
    return [sessions.Delta(1, bound.hosted.codec.shown(update)) for update in updates]


def read(
    bound: hosted.Bound, instance_id: str, head: refs.Ref | None, cursor: str | None, limit: int
) -> tuple[list[sessions.Turn], str | None]:
    """Give the newest turns of a session, or those before a cursor, oldest first, and where those before them are.

    Raises:
        UsageError: If the cursor came from no page of this session.
    """
    ref = head if cursor is None else _cursor(cursor)
    found: list[sessions.Turn] = []
    try:
        while ref is not None and len(found) < limit:
            entry = bound.entry(instance_id, ref)
            found.append(of(bound, instance_id, ref, entry, whole=True))
            ref = entry.previous
    except (errors.PayloadMissing, msgspec.DecodeError):
        if cursor is None or found:
            raise
        raise errors.UsageError(f"The cursor {cursor!r} is none of this session.") from None
    return found[::-1], None if ref is None else ref.digest.hex()


def _cursor(cursor: str) -> refs.Ref:
    try:
        digest = bytes.fromhex(cursor)
    except ValueError:
        raise errors.UsageError(f"The cursor {cursor!r} is none of ours.") from None
    return refs.Ref(None, digest)
