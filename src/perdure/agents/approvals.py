"""Answers to an agent's requests for approval, as a client sends them: made into what the agent asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agent_framework import AgentSession, Content, Message

from perdure import errors
from perdure.agents import memory

REQUEST: Final = "function_approval_request"
RESPONSE: Final = "function_approval_response"


class NothingAsked(errors.PerdureError):
    """An approval answers no request of its session."""


def resolved(messages: Sequence[Message], session: AgentSession) -> list[Message]:
    """Give messages whose approvals are of the calls that the session's agent asked about.

    What is approved is the call that was shown, whatever the answer says that it was.

    Raises:
        NothingAsked: If an approval answers no request of the session.
    """
    return [
        Message(
            message.role, [_resolved(content, session) for content in message.contents], message_id=message.message_id
        )
        if any(content.type == RESPONSE for content in message.contents)
        else message
        for message in messages
    ]


def _resolved(content: Content, session: AgentSession) -> Content:
    if content.type != RESPONSE:
        return content
    asked = next((request for request in _asked(session) if request.id == content.id), None)
    if asked is None:
        known = ", ".join(repr(request.id) for request in _asked(session)) or "none"
        raise NothingAsked(
            f"The approval is for the request {content.id!r}, which is none of the session's: {known}.",
            "Answer with the id of a request that an answer of this session shows.",
        )
    return asked.to_function_approval_response(approved=bool(content.approved))


def _asked(session: AgentSession) -> Iterator[Content]:
    for history in memory.histories(session).values():
        for message in history:
            yield from (content for content in message.contents if content.type == REQUEST)
