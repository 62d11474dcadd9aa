"""What the hub holds, as structs: instances, history records, kept states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from perdure.workflow import protocol

Status = Literal["Running", "Completed", "Failed", "Terminated"]
Kind = Literal["start", "result", "failure", "timer", "event", "termination"]
KINDS: tuple[Kind, ...] = ("start", "result", "failure", "timer", "event", "termination")
START, RESULT, FAILURE, TIMER, EVENT, TERMINATION = range(6)


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One history row: a landing and what was emitted in the turn that followed it.

    Attributes:
        time: When it landed, seconds since the epoch.
        kind: Index into ``KINDS``.
        key: Key of the activity, child or timer; an event's name; empty for a start.
        data: The encoded result, failure or event; None for a start or a timer.
        attempt: 1 for the first attempt of an activity.
        epoch: The life of the hub's owner in which the turn ran; what it scheduled is counted from there.
        events: The events that the turn emitted.
    """

    time: float
    kind: int
    key: str
    data: bytes | None
    attempt: int
    epoch: int
    events: Sequence[bytes]


class Instance(NamedTuple):
    """A row of the table of instances, in the order of its columns."""

    number: int
    id: str
    name: str
    status: str
    parked: int
    created: float
    updated: float
    epoch: int
    parent: str
    parent_key: str
    definition: bytes
    input_digest: bytes
    custom_status: bytes | None
    failure: bytes | None
    output: bytes | None
    call: bytes


class Kept(NamedTuple):
    """A state to resume from, in the order of its columns.

    ``older`` is a map of key to epoch for what was outstanding and scheduled before ``epoch``.
    """

    instance: int
    seq: int
    epoch: int
    older: bytes
    custom_status: bytes | None
    state: bytes


class Row(NamedTuple):
    """A row of the history, in the order of its columns."""

    instance: int
    seq: int
    events: int
    record: bytes


class InstanceView(msgspec.Struct, frozen=True):
    """An orchestration instance as committed.

    Attributes:
        id: Its id.
        name: The orchestrator's name.
        status: Where it is in its life.
        created: Seconds since the epoch.
        updated: Seconds since the epoch of the last thing recorded of it.
        output: What it returned, encoded; None until it completed.
        failure: Why it failed or was terminated.
        custom_status: What it says of itself, encoded.
        input_digest: Digest of its input, as given at its start.
        definition: Digest of the definition it was started with.
        parent: Id of the instance that started it; empty for one started from outside.
    """

    id: str
    name: str
    status: Status
    created: float
    updated: float
    output: bytes | None = None
    failure: protocol.Failure | None = None
    custom_status: bytes | None = None
    input_digest: bytes = b""
    definition: bytes = b""
    parent: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status != "Running"


class Event(NamedTuple):
    """An entry of an instance's event log: ids count from 1 without gaps; time is in seconds since the epoch."""

    id: int
    time: float
    data: bytes


_encoder = msgspec.msgpack.Encoder()
_record_decoder = msgspec.msgpack.Decoder(Record)
_failure_decoder = msgspec.msgpack.Decoder(protocol.Failure)
_older_decoder = msgspec.msgpack.Decoder(dict[str, int])


def encode(value: Any) -> bytes:
    """Encode a record, a failure or a map as msgpack."""
    return _encoder.encode(value)


def decode_record(data: bytes) -> Record:
    """Give back an encoded record."""
    return _record_decoder.decode(data)


def decode_failure(data: bytes) -> protocol.Failure:
    """Give back an encoded failure."""
    return _failure_decoder.decode(data)


def decode_older(data: bytes) -> dict[str, int]:
    """Give back the map of a kept state."""
    return _older_decoder.decode(data)


def view(row: Instance) -> InstanceView:
    """Show a row."""
    return InstanceView(
        id=row.id,
        name=row.name,
        status=row.status,  # type: ignore[arg-type]  # only statuses are ever written
        created=row.created,
        updated=row.updated,
        output=row.output,
        failure=None if row.failure is None else decode_failure(row.failure),
        custom_status=row.custom_status,
        input_digest=row.input_digest,
        definition=row.definition,
        parent=row.parent,
    )
