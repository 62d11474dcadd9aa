"""The sessions of agents that the routes stand on: what a host offers to the HTTP API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from perdure import errors
from perdure.agents import requests
from perdure.payloads import refs
from perdure.workflow import protocol

TurnStatus = Literal["success", "error"]


class Turn(msgspec.Struct, frozen=True):
    """One turn of a conversation that has ended.

    Attributes:
        number: 1 for the first turn of the conversation.
        correlation_id: Names it.
        status: Whether the agent answered.
        text: The answer as text; with an error, what had come of it.
        accepted: When it was accepted, seconds since the epoch.
        ended: When it ended.
        failure: Why there is no answer.
        usage: The tokens that it took, as the agent's framework counts them.
        asked: What was asked, as plain JSON messages; left out unless a conversation is read.
        answered: What was answered, likewise.
        request_digest: Digest of the request, to tell a repeated one from a clash.
        requests: What the agent asks before it goes on, as plain JSON contents.
    """

    number: int
    correlation_id: str
    status: TurnStatus
    text: str
    accepted: float
    ended: float
    failure: protocol.Failure | None = None
    usage: dict[str, Any] | None = None
    asked: Sequence[Any] = ()
    answered: Sequence[Any] = ()
    request_digest: bytes = b""
    requests: Sequence[Any] = ()


class Accepted(msgspec.Struct, frozen=True):
    """A turn was accepted for good."""


class Delta(msgspec.Struct, frozen=True):
    """A part of an answer, while it is being given.

    Attributes:
        attempt: In which attempt of the turn, from 1; each says its answer from the beginning.
        data: The part, as plain JSON.
    """

    attempt: int
    data: Any


Said: TypeAlias = Accepted | Delta | Turn


class Session(msgspec.Struct, frozen=True):
    """A session as it stands.

    Attributes:
        id: Its id, as clients name it.
        agent: The name that its agent is hosted under.
        created: Seconds since the epoch.
        updated: Seconds since the epoch of the last thing recorded of it.
        turns: How many turns its conversation has.
        pending: How many turns wait or run.
        expires: When it expires if nothing comes; 0 for never, and while there is something to do.
    """

    id: str
    agent: str
    created: float
    updated: float
    turns: int
    pending: int
    expires: float = 0.0

    @property
    def message_count(self) -> int:
        """How many entries its conversation has: what was asked, and what was answered."""
        return 2 * self.turns


class Page(msgspec.Struct, frozen=True):
    """A page of sessions and where the next one starts (None at the end)."""

    sessions: Sequence[Session]
    cursor: str | None = None


class Conversation(msgspec.Struct, frozen=True):
    """A session with turns of it, oldest first, and where those before them are (None at the beginning)."""

    session: Session
    turns: Sequence[Turn]
    cursor: str | None = None


class Sessions(Protocol):
    """What a host offers. Times are in seconds; agents go by the names they are hosted under."""

    async def send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob] = ()
    ) -> None:
        """Give a session a turn, unless it has had one of this correlation id; begins the session if need be.

        When this returns the turn is accepted for good.

        Raises:
            HubError: If it could not be made durable: it was not accepted.
        """
        ...

    async def wait(self, agent: str, session_id: str, correlation_id: str, seconds: float | None) -> Turn | None:
        """Give a turn as soon as it has ended; None if it has not when the time is over (None: any time).

        Raises:
            SessionGone: If the session was deleted with the turn in it.
        """
        ...

    def ask(
        self,
        agent: str,
        session_id: str,
        correlation_id: str,
        request: refs.Ref,
        blobs: Sequence[refs.Blob],
        seconds: float | None,
    ) -> AsyncGenerator[Said]:
        """Give a session a turn as ``send`` does, and hear the answer as it comes.

        Gives ``Accepted`` first, what the agent says from then on, where the host can tell, and the turn when it has
        ended; without that if it has not within so many seconds (None for as long as it takes). Who leaves loses
        nothing but what is said meanwhile.

        Raises:
            HubError: If it could not be made durable: it was not accepted.
            SessionGone: If the session was deleted with the turn in it.
        """
        ...

    async def get(self, agent: str, session_id: str) -> Session | None:
        """Give a session, or None for an unknown id."""
        ...

    async def read(self, agent: str, session_id: str, cursor: str | None, limit: int) -> Conversation | None:
        """Give the newest turns of a session, or those before a cursor; None for an unknown id.

        Raises:
            UsageError: If the cursor came from no page of this session.
        """
        ...

    async def query(self, agent: str, prefix: str, cursor: str | None, limit: int) -> Page:
        """List an agent's sessions, newest first.

        Raises:
            UsageError: If the cursor came from no page of this list.
        """
        ...

    async def reset(self, agent: str, session_id: str) -> bool:
        """Have a session forget its conversation, after the turns that it was sent; False if it is unknown.

        Raises:
            HubError: If it could not be made durable.
        """
        ...

    async def delete(self, agent: str, session_id: str) -> bool:
        """Delete a session with all that it kept, and the turns in it; False if it is unknown.

        Raises:
            HubError: If it could not be made durable.
        """
        ...


class SessionGone(errors.PerdureError):
    """A session was deleted, or expired, with what was waited for in it."""


def gone(session_id: str) -> SessionGone:
    """Say that a session is gone, in words that help."""
    return SessionGone(f"The session {session_id!r} was deleted, and the turn with it.", "Send it again.")


class HostedAgent(Protocol):
    """An agent that can be talked to by HTTP."""

    @property
    def name(self) -> str:
        """The name it is hosted under."""
        ...

    @property
    def description(self) -> str | None:
        """What it is for."""
        ...

    @property
    def http_endpoint(self) -> bool:
        """Whether it has routes."""
        ...

    def accept(self, request: requests.Request) -> tuple[refs.Ref, list[refs.Blob]]:
        """Encode a request for its session. Pure and safe to call from any thread.

        Raises:
            CodecError: If it cannot be encoded.
        """
        ...
