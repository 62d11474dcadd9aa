"""The custom status of an orchestration: what fits stands in it; open requests that do not are records that it names.

The requests are cut into pieces that most changes leave as they are: where one of a thousand is answered, one piece of
some thirty is written anew, and nothing where a run goes on beside what it has asked.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from perdure.hosts.azure import wire
from perdure.hosts.replay import wire as texts
from perdure.payloads import owners, records
from perdure.workflow import orchestrator, run_state

LIMIT_CHARACTERS: Final = 8_000
"""A custom status takes 16 KiB of UTF-16."""

REQUESTS_BYTES: Final = 2048
"""Open requests of up to so much stand in the status itself."""

PIECES: Final = 32

WAITING_CHARACTERS: Final = 500

RECORD: Final = "status/"

FIRST_LOOK_SECONDS: Final = 0.05
LAST_LOOK_SECONDS: Final = 1.0
"""What a status names is written down just after it is named: so it is looked for again and again, up to this."""


def read(said: bytes | None) -> orchestrator.RunStatus | None:
    """Read what a run says of itself; None for what is no run's."""
    try:
        return None if said is None else orchestrator.decode_status(said)
    except msgspec.DecodeError:
        return None


@functools.lru_cache(64)
def apart(said: bytes | None) -> Mapping[str, str]:
    """Give the open requests that do not stand in the status, by name: the same for the same requests."""
    run = read(said)
    if run is None or len(texts.encode(run.requests)) <= REQUESTS_BYTES:
        return {}
    return {name_of(text): text for text in map(texts.pack, _pieces(run.requests))}


def show(status: texts.Status) -> tuple[wire.Status, Mapping[str, str]]:
    """Give the custom status that says this, and what it names, by name."""
    run, kept = read(status.value), apart(status.value)
    idle = run is not None and run.idle
    state: Literal["running", "waiting for answers"] = "waiting for answers" if idle else "running"
    shown = wire.Status(
        state,
        0 if run is None else run.superstep,
        0 if run is None else len(run.requests),
        status.held[:WAITING_CHARACTERS],
        asked=tuple(kept),
        incarnation=status.incarnation if kept else "",
    )
    if run is not None and kept:
        without = msgspec.structs.replace(run, requests=())
        status = msgspec.structs.replace(status, value=texts.encode(without))
    text = texts.pack(status)
    whole = msgspec.structs.replace(shown, said=text)
    if len(json.dumps(wire.pack(whole))) <= LIMIT_CHARACTERS:
        return whole, kept
    shown = msgspec.structs.replace(shown, record=name_of(text), incarnation=status.incarnation)
    return shown, {**kept, name_of(text): text}


async def said(custom: Any, instance: str, kept: records.RecordStore) -> str | None:
    """Give the encoded ``texts.Status`` that a custom status stands for; None if it is none of ours.

    Args:
        custom: The custom status.
        instance: Whose it is.
        kept: Where what it names is written down.
    """
    try:
        status = wire.unpack(wire.Status, custom)
    except (ValueError, TypeError):
        return None
    names = [*status.asked, *([status.record] if status.record else [])]
    if not names:
        return status.said
    owner = owners.of(instance, status.incarnation)
    bodies = await asyncio.gather(*(_written(owner, name, kept) for name in names))
    found = [body for body in bodies if body is not None]
    if len(found) < len(names):
        return None
    text = found.pop() if status.record else status.said
    if not status.asked:
        return text
    told = texts.unpack(text, texts.Status)
    run = read(told.value)
    if run is None:
        return text
    asked = tuple(one for piece in found for one in texts.unpack(piece, tuple[run_state.Request, ...]))
    return texts.pack(msgspec.structs.replace(told, value=texts.encode(msgspec.structs.replace(run, requests=asked))))


def name_of(text: str) -> str:
    """Name a text by what it says."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _pieces(requests: Sequence[run_state.Request]) -> Iterator[tuple[run_state.Request, ...]]:
    """Cut requests, which stay in their order, before those whose ids say so: about as many pieces however many."""
    one_in = 1 << (len(requests) // PIECES).bit_length()
    first = 0
    for place, request in enumerate(requests):
        if place > first and zlib.crc32(request.id.encode()) % one_in == 0:
            yield tuple(requests[first:place])
            first = place
    yield tuple(requests[first:])


async def _written(owner: str, name: str, kept: records.RecordStore) -> str | None:
    delay = FIRST_LOOK_SECONDS
    while (body := await kept.get(owner, f"{RECORD}{name}")) is None:
        if delay > LAST_LOOK_SECONDS:
            return None
        # It is being written: the turn that named it asked for that.
        await asyncio.sleep(delay)
        delay *= 2
    return body.decode()
