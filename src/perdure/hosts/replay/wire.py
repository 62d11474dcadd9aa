"""What travels through an engine that takes texts: encoded structs, compressed, in base64."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from perdure.agents import records as turns
from perdure.payloads import compression
from perdure.workflow import deadlines, orchestrator, protocol, run_state

T = TypeVar("T")


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Events of a run that follow each other: what one record of its log holds. Once cut it never changes.

    Attributes:
        first: The id of the first.
        events: Each with the time at which it was emitted.
    """

    first: int
    events: tuple[tuple[float, bytes], ...]


class Start(msgspec.Struct, frozen=True, array_like=True):
    """The input of an orchestration, and of each of its lives after the first.

    Attributes:
        call: What it was started with; empty where it is stored.
        stored: Digest of the call where it is too large to travel with every life.
        child: Whether another orchestration waits for it.
        state: The state that this life resumes from; None for the first.
        next: The id of the first event that is not in a page.
        pages: Events that may not be in the log yet.
        heard: Events that this life is to be sent first.
        status: The custom status.
        now: When the life before ended; time does not run backwards.
        landings: After how many landings it ends, 0 for what is usual. It is part of the input, so that every replay
            ends it alike.
        shown: The id up to which events have stood in the status, or in the log.
        told: Events after the pages, not cut yet.
        incarnation: Which of those that the id was given to it is; empty where an id is used once.
        digest: Of what a client started it with; empty where none did.
    """

    call: bytes
    stored: bytes = b""
    child: bool = False
    state: bytes | None = None
    next: int = 1
    pages: tuple[Page, ...] = ()
    heard: tuple[Heard, ...] = ()
    status: bytes | None = None
    now: float = 0.0
    landings: int = 0
    shown: int = 1
    told: tuple[tuple[float, bytes], ...] = ()
    incarnation: str = ""
    digest: bytes = b""


class Task(msgspec.Struct, frozen=True, array_like=True):
    """The input of an activity.

    Attributes:
        key: Its key.
        call: Its call.
        pages: Events that it writes to the log.
        end: What it leaves for clients of a run that is about to fail.
        patience: Seconds after which nobody waits for it any more; 0 for never.
        incarnation: That of the orchestration.
    """

    key: str
    call: bytes = b""
    pages: tuple[Page, ...] = ()
    end: End | None = None
    patience: float = 0.0
    incarnation: str = ""


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What an activity gives.

    Attributes:
        kind: ``result``, ``failure``, or ``held`` where this worker cannot do it: it is tried again.
        data: The recorded result.
        failure: Why it failed, or is held.
    """

    kind: Literal["result", "failure", "held"]
    data: bytes = b""
    failure: protocol.Failure | None = None


class End(msgspec.Struct, frozen=True, array_like=True):
    """What an orchestration leaves.

    Attributes:
        output: Its output; None if it failed.
        failure: Why it failed.
        state: A state from just before it failed.
        pages: Events that may not be in the log.
        next: The id that the next event would have.
    """

    output: bytes | None = None
    failure: protocol.Failure | None = None
    state: bytes | None = None
    pages: tuple[Page, ...] = ()
    next: int = 1


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """An event on its way to an orchestration.

    Attributes:
        name: Its name.
        data: Its data.
        at: When it was accepted from outside, seconds since the epoch; 0 where it was not.
        incarnation: That of the orchestration that it is for; empty for whichever has the id.
    """

    name: str
    data: bytes
    at: float = 0.0
    incarnation: str = ""


class Status(msgspec.Struct, frozen=True, array_like=True):
    """What an orchestration says of itself, as the engine holds it.

    Attributes:
        value: The custom status.
        held: Why it waits for a worker that can do what it needs; empty if it does not.
        awaited: Names of the activities that are out, as far as they are few.
        pages: Events that may not be in the log.
        next: The id that the next event will have; 0 if nothing is said of events.
        incarnation: That of the orchestration.
    """

    value: bytes | None = None
    held: str = ""
    awaited: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()
    next: int = 0
    incarnation: str = ""


NOTE: Final = "perdure-note"
"""Name of the activity that only writes to the log."""

REQUEST: Final = "request/"
"""What the names of records begin with that say what became of a request."""

TOLD: Final = "told/"
"""What the names of records begin with that say how often a run was told again what became of a request."""

EVENT: Final = "perdure"
"""The one name under which an orchestration hears: the engine would fold the case of others."""

SMALLEST_BYTES: Final = 256
"""What is longer is compressed if that saves anything: it travels with every turn."""

_encoder: Final = msgspec.msgpack.Encoder()
_CALLS: Final[Mapping[str, type]] = {"step": orchestrator.Call, "expiry": deadlines.Expiry, "turn": turns.Call}
_TAGS: Final = {kind: tag for tag, kind in _CALLS.items()}
_tagged: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])


def request_record(request: run_state.Request) -> str:
    """Name the record of what became of a request: who writes it decides."""
    return f"{REQUEST}{request.superstep}/{request.id}"


def pack(value: Any) -> str:
    """Encode a struct as a text."""
    return base64.b64encode(compression.pack(_encoder.encode(value), smallest=SMALLEST_BYTES, pays=1.0)).decode("ascii")


def unpack(text: str, kind: type[T]) -> T:
    """Give back what was encoded.

    Raises:
        ValueError: If it is none.
        CodecError: If it is none, or a newer perdure has written it.
    """
    return decoder(kind).decode(compression.unpack(base64.b64decode(text)))


def encode(value: Any) -> bytes:
    """Encode a struct."""
    return _encoder.encode(value)


def decode(body: bytes, kind: type[T]) -> T:
    """Give back what was encoded."""
    return decoder(kind).decode(body)


def encode_call(call: Any) -> bytes:
    """Encode the call of an activity."""
    return _encoder.encode((_TAGS.get(type(call), ""), call))


def decode_call(body: bytes) -> Any:
    """Give back the call of an activity."""
    tag, raw = _tagged.decode(body)
    kind: Any = _CALLS.get(tag, Any)
    return decoder(kind).decode(raw)


_decoders: Final[dict[Any, msgspec.msgpack.Decoder[Any]]] = {}
_making: Final = threading.Lock()


def decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    """Give what decodes a kind.

    They are made one at a time: msgspec reads a struct's fields when it first meets it, and a thread that uses what
    another is still reading takes the process down.
    """
    found = _decoders.get(kind)
    if found is None:
        with _making:
            found = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    return found
