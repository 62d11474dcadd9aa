"""What a session is made of, as structs: the turns it is sent, what it keeps, and what it leaves in its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import policy, protocol

TURN: Final = "turn"
RESET: Final = "reset"
DELETE: Final = "delete"
"""Names of the events that a session is sent."""


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """One request to the agent, as it was accepted.

    Attributes:
        correlation_id: Names the request; the same name again is the same request.
        request: The encoded request.
        ttl: Seconds after which the session expires if no other turn comes; 0 for never.
        reset: Whether it is no request, but says to forget the conversation.
        accepted: Seconds since the epoch; set when it is recorded.
        trace: W3C trace context of who asked.
        rule: How often it is tried, and how long an attempt may take; once, for any time, if None.
        stream: Whether the agent is asked for a stream, so that who listens hears the answer as it comes.
    """

    correlation_id: str
    request: refs.Ref | None = None
    ttl: float = 0.0
    reset: bool = False
    accepted: float = 0.0
    trace: dict[str, str] = {}
    rule: policy.Rule | None = None
    stream: bool = False


class State(msgspec.Struct, frozen=True, array_like=True):
    """A session as its orchestration holds it; it stays small however long the conversation is.

    Attributes:
        head: The newest entry of the log; None for an empty conversation.
        document: What the agent's providers keep, without the histories that lie in the log.
        entries: How many turns the conversation has.
        turns: How many turns were ever begun; numbers their activities.
        queue: Turns that wait, the first of them running if ``running``.
        running: Whether the first turn in the queue has begun.
        recent: Correlation ids of the turns that ended last, which nobody may have read back yet.
        ttl: As given with the last turn.
        touched: When the last turn came or ended, seconds since the epoch.
        alarm: When the timer for the session's end goes off, seconds since the epoch; 0 for none.
        alarms: How many such timers were set; numbers them.
        failed: How many attempts of the turn that has begun have failed.
        again: When its next attempt is due, seconds since the epoch; 0 while the agent is at work.
    """

    head: refs.Ref | None = None
    document: refs.Ref | None = None
    entries: int = 0
    turns: int = 0
    queue: tuple[Turn, ...] = ()
    running: bool = False
    recent: tuple[str, ...] = ()
    ttl: float = 0.0
    touched: float = 0.0
    alarm: float = 0.0
    alarms: int = 0
    failed: int = 0
    again: float = 0.0


class Status(msgspec.Struct, frozen=True, array_like=True):
    """What a session says of itself: its custom status.

    Attributes:
        head: The newest entry of the log.
        entries: How many turns the conversation has.
        pending: How many turns wait or run.
        expires: When it expires if nothing comes, seconds since the epoch; 0 for never.
    """

    head: refs.Ref | None = None
    entries: int = 0
    pending: int = 0
    expires: float = 0.0


class Call(msgspec.Struct, frozen=True, array_like=True):
    """The input of the activity that runs the agent for one turn."""

    turn: Turn
    number: int
    head: refs.Ref | None
    document: refs.Ref | None
    entries: int
    attempt: int = 1


class Result(msgspec.Struct, frozen=True, array_like=True):
    """What a turn gave: the new head of the log and the providers' state after it.

    Attributes:
        head: The new head.
        document: The providers' state.
        wait: If the attempt failed and there is to be another one, how long until then, in seconds; all else is
            as it was.
    """

    head: refs.Ref | None
    document: refs.Ref | None
    wait: float | None = None


class History(msgspec.Struct, frozen=True, array_like=True):
    """How a turn changed one history: what it kept of it, and what it added.

    Attributes:
        keep: How many messages of the history before are still its beginning.
        added: The messages after those, as positions in the entry's messages.
    """

    keep: int
    added: tuple[int, ...]


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A turn in the log. Entries form a chain from the newest to the oldest.

    Attributes:
        previous: The entry before; None for the first.
        number: 1 for the first turn of the conversation.
        correlation_id: Names the request.
        request: Digest of the request, to tell a repeated one from another under the same name.
        accepted: When the turn was accepted, seconds since the epoch.
        ended: When the agent had answered.
        messages: The distinct messages of the turn, encoded as a list.
        asked: Positions of what was asked.
        answered: Positions of what was answered; with a failure, of what had come before it.
        response: The rest of the agent's response; None if there is none.
        failure: Why there is no answer.
        histories: How the histories changed, by provider.
    """

    previous: refs.Ref | None
    number: int
    correlation_id: str
    request: bytes
    accepted: float
    ended: float
    messages: refs.Ref
    asked: tuple[int, ...]
    answered: tuple[int, ...] = ()
    response: refs.Ref | None = None
    failure: protocol.Failure | None = None
    histories: dict[str, History] = {}


class Told(msgspec.Struct, frozen=True, array_like=True):
    """An event in a session's log of events, told as soon as it is durable.

    Attributes:
        kind: ``answered``, ``failed`` or ``reset``.
        correlation_id: Of the turn.
        entry: The turn's entry; None if it left none.
        failure: Why it left none.
    """

    kind: str
    correlation_id: str
    entry: refs.Ref | None = None
    failure: protocol.Failure | None = None


_encoder = msgspec.msgpack.Encoder()

encode: Callable[[msgspec.Struct], bytes] = _encoder.encode
decode_turn: Callable[[bytes], Turn] = msgspec.msgpack.Decoder(Turn).decode
decode_state: Callable[[bytes], State] = msgspec.msgpack.Decoder(State).decode
decode_status: Callable[[bytes], Status] = msgspec.msgpack.Decoder(Status).decode
decode_result: Callable[[bytes], Result] = msgspec.msgpack.Decoder(Result).decode
decode_entry: Callable[[bytes], Entry] = msgspec.msgpack.Decoder(Entry).decode
decode_told: Callable[[bytes], Told] = msgspec.msgpack.Decoder(Told).decode
decode_ref: Callable[[bytes], refs.Ref] = msgspec.msgpack.Decoder(refs.Ref).decode


def encode_ref(ref: refs.Ref) -> bytes:
    """Encode a reference."""
    return _encoder.encode(ref)


def receipt(session: str, correlation_id: str) -> bytes:
    """Name the record that leads from a correlation id to the entry of its turn.

    It is a name, not a digest of what is under it: who asks has the correlation id only. Nothing else of a session
    can have this name, and what is under it never changes, as with every payload.
    """
    return refs.digest(f"receipt\0{session}\0{correlation_id}".encode())


def request_digest(request: refs.Ref) -> bytes:
    """Name an encoded request, wherever it is kept."""
    return request.digest if request.inline is None else refs.digest(request.inline)
