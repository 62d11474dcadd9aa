"""Runs and sessions as clients see them, whatever engine they are on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from perdure import errors
from perdure.agents import naming as agents
from perdure.agents import records
from perdure.routes import runs, sessions
from perdure.workflow import hosted, naming, orchestrator, protocol, run_state, values


class Orchestration(Protocol):
    """What every engine says of an orchestration."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def status(self) -> str:
        """Where it is in its life."""
        ...

    @property
    def created(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def updated(self) -> float:
        """Seconds since the epoch of the last thing recorded of it."""
        ...

    @property
    def failure(self) -> protocol.Failure | None:
        """Why it failed or was terminated."""
        ...


class Workflows:
    """The workflows of an app as runs name them.

    Args:
        bounds: The workflows by the name they are hosted under.
    """

    def __init__(self, bounds: Mapping[str, hosted.Bound]) -> None:
        self._found = {bound.orchestrator.name: (name, bound) for name, bound in bounds.items()}

    @property
    def orchestrations(self) -> tuple[str, ...]:
        """Their durable names."""
        return tuple(self._found)

    def bound(self, orchestration: str) -> hosted.Bound | None:
        """Give a workflow by its durable name; None if it is gone, or none."""
        return self._found.get(orchestration, ("", None))[1]

    def name(self, orchestration: str) -> str:
        """Give the name that a workflow is hosted under, or was."""
        return self._found.get(orchestration, (orchestration.removeprefix(naming.PREFIX), None))[0]


def pending(
    bound: hosted.Bound, seen: values.RunValues, asked: Iterable[run_state.Request]
) -> tuple[runs.Pending, ...]:
    """Give requests with what they ask.

    Args:
        bound: The workflow of the run.
        seen: The values of the run.
        asked: The requests.
    """
    types = bound.hosted.answer_types
    shown = ((request, seen.plain(request.data)) for request in asked)
    return tuple(
        runs.Pending(
            request.id, request.executor, data, *types.names(request), types.schema(request, data), request.deadline
        )
        for request, data in shown
    )


def progress(status: orchestrator.RunStatus) -> dict[str, Any]:
    """Give what a run says of itself while it goes on."""
    return {"state": "waiting_for_human_input" if status.idle else "running", "superstep": status.superstep}


def has_asked(bound: hosted.Bound, events: Iterable[bytes], request_id: str) -> bool:
    """Say whether a request was made in one of these events of a run."""
    found = (bound.event_fields(event) for event in events)
    return any(type == "request_info" and fields.get("requestId") == request_id for type, fields in found)


def session(agent: str, held: Orchestration, status: records.Status) -> sessions.Session:
    """Give a session that is an orchestration.

    Args:
        agent: The name that its agent is hosted under.
        held: The orchestration.
        status: What that says of itself.
    """
    key = agents.session_key(held.id)
    return sessions.Session(key, agent, held.created, held.updated, status.entries, status.pending, status.expires)


def broken(session_id: str, held: Orchestration) -> errors.HubError:
    """Say that a session whose orchestration failed cannot go on, in words that help."""
    why = held.status if held.failure is None else held.failure.message
    return errors.HubError(f"The session {session_id!r} cannot go on: {why}", "Delete it to begin anew.")
