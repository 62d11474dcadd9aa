"""What passes through Durable Functions: JSON objects, which hold what the engine need not look into as texts."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, TypeVar

import msgspec

from perdure.hosts.replay import wire
from perdure.payloads import records

OUTPUT: Final = "output"
"""Name of the record of how a run has ended whose output is plain."""

T = TypeVar("T")

ASIDE: Final = "perdure-aside"
"""Name of the activity that does what an orchestration needs beside its steps."""


class Start(msgspec.Struct, frozen=True):
    """The input of an orchestration: an encoded ``wire.Start``."""

    start: str


class Order(msgspec.Struct, frozen=True):
    """The input of an activity.

    Attributes:
        instance: The orchestration that asks for it.
        task: An encoded ``wire.Task``.
    """

    instance: str
    task: str


class Aside(msgspec.Struct, frozen=True):
    """The input of the activity beside the steps.

    Attributes:
        owner: The owner of what the orchestration keeps that asks for it.
        name: The orchestration's durable name.
        what: ``accept`` takes the input of a run that was started by hand, and gives an encoded start; ``unread`` takes
            the names of the records of open requests, and gives what was accepted for them, encoded; ``status`` writes
            down the texts that a status names, since they are too long to stand in it; ``outputs`` writes down how a
            run has ended, and gives its outputs as plain JSON.
        value: What that takes.
    """

    owner: str
    name: str
    what: Literal["accept", "unread", "status", "outputs"]
    value: Any = None


class Event(msgspec.Struct, frozen=True):
    """The data of an event: its name and data, encoded."""

    event: str


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """The custom status: set in full on every turn, and never empty.

    Attributes:
        state: What it does, for people.
        superstep: In which superstep.
        requests: How many requests are open.
        waitingFor: What only another deployment, or the store, can give.
        said: An encoded ``wire.Status``.
        asked: Names of the records that have the open requests, where they do not stand in what is said.
        record: Name of the record of what is said where that is too long.
        incarnation: That of the orchestration, where there are such records.
    """

    state: Literal["running", "waiting for answers"]
    superstep: int = 0
    requests: int = 0
    waitingFor: str = ""
    said: str = ""
    asked: tuple[str, ...] = ()
    record: str = ""
    incarnation: str = ""


def pack(value: msgspec.Struct) -> dict[str, Any]:
    """Give a struct as a JSON object."""
    packed: dict[str, Any] = msgspec.to_builtins(value)
    return packed


def unpack(kind: type[T], value: Any) -> T:
    """Read a struct out of a JSON object, or of its text: the SDK's client sends events as text in a JSON string.

    Raises:
        ValueError: If it is none.
    """
    while isinstance(value, str):
        value = json.loads(value)
    wire.decoder(kind)  # Its fields are read by one thread at a time.
    return msgspec.convert(value, kind)


def start(first: wire.Start) -> dict[str, Any]:
    """Give what an orchestration is started with."""
    return pack(Start(wire.pack(first)))


def begun(given: Any) -> str | None:
    """Give back an encoded ``wire.Start`` out of what an orchestration was started with; None for what is none."""
    try:
        return unpack(Start, given).start
    except (ValueError, TypeError):
        return None


async def ended(output: Any, owner: str | None, kept: records.RecordStore) -> str | None:
    """Give how an orchestration has ended, an encoded ``wire.End``, out of its output.

    Args:
        output: The output; plain JSON where that was for a hand-written orchestration.
        owner: Who owns what it keeps; None if it has said nothing of itself.
        kept: Where it is written down then.
    """
    if isinstance(output, str):
        return output
    body = None if owner is None else await kept.get(owner, OUTPUT)
    return None if body is None else body.decode()
