"""Conflicts: two executors of a superstep that write one key of the shared state."""

from __future__ import annotations

from perdure.workflow import events, protocol


def event(superstep: int, name: str) -> bytes:
    """Give the event that says who won."""
    said = f"Two executors wrote the shared state key {name!r} in one superstep; the later in canonical order won."
    return events.of("warning", superstep, fields={"data": said, "code": "state_conflict", "key": name})


def failure(names: tuple[str, ...]) -> protocol.Failure:
    """Give the failure of a run in which nobody is to win."""
    return protocol.Failure(
        "StateConflict",
        f"Two executors wrote the shared state keys {', '.join(names)} in one superstep. "
        'Let one executor write each key, or host the workflow with on_state_conflict="warn".',
    )
