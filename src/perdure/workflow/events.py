"""The events of a run: how the fold says what happened, and how clients read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import protocol


class Recorded(msgspec.Struct, frozen=True, array_like=True):
    """An event as the durable log holds it.

    Attributes:
        type: What happened; the framework's own names where it has one.
        superstep: In which superstep.
        executor: Whose it is; empty for the run's own.
        value: A user's value that goes with it.
        fields: Plain JSON that goes with it.
        path: The executors that wrap the sub-workflow it comes from, from the top; empty for the run's own.
    """

    type: str
    superstep: int = 0
    executor: str = ""
    value: refs.Ref | None = None
    fields: dict[str, Any] | None = None
    path: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Recorded)

encode: Callable[[Recorded], bytes] = _encoder.encode
decode: Callable[[bytes], Recorded] = _decoder.decode


def of(
    type: str,
    superstep: int = 0,
    executor: str = "",
    value: refs.Ref | None = None,
    fields: dict[str, Any] | None = None,
) -> bytes:
    """Make an event and encode it."""
    return _encoder.encode(Recorded(type, superstep, executor, value, fields))


_OUTER: Final = frozenset(
    {
        "started",
        "superstep_started",
        "superstep_completed",
        "completed",
        "failed",
        "parked",
        "output",
        "intermediate",
        "request_info",
        "request_withdrawn",
        "response",
        "definition_changed",
    }
)
"""What a run says of itself: of a sub-workflow, the executor that wraps it says what becomes of it."""


def inside(event: bytes, executor: str) -> bytes | None:
    """Give an event of a sub-workflow as one of the run around it; None for one that does not show there."""
    recorded = decode(event)
    if recorded.type in _OUTER:
        return None
    return encode(msgspec.structs.replace(recorded, path=(executor, *recorded.path)))


def failed(type: str, superstep: int, executor: str, failure: protocol.Failure) -> bytes:
    """Make the event of a failure: an executor's, or with no executor the run's, which also has the user's frames."""
    error = {"type": failure.type, "message": failure.message}
    if failure.detail and not executor:
        error["traceback"] = failure.detail
    return of(type, superstep, executor, fields={"error": error})


def data(recorded: Recorded, plain: Callable[[refs.Ref], Any]) -> dict[str, Any]:
    """Give an event's data as clients see it.

    Args:
        recorded: The event.
        plain: Turns a user's value into plain JSON.
    """
    found: dict[str, Any] = {}
    if recorded.superstep:
        found["superstep"] = recorded.superstep
    if recorded.executor:
        found["executorId"] = recorded.executor
    if recorded.path:
        found["path"] = list(recorded.path)
    if recorded.fields:
        found.update(recorded.fields)
    if recorded.value is not None:
        found["data"] = plain(recorded.value)
    return found
