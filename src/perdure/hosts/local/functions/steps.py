"""Steps: what an orchestration schedules, and how that stands in its history."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

from perdure.hosts.local.functions import history
from perdure.hosts.local.functions.history import Kind

HTTP_ACTIVITY = "BuiltIn::HttpActivity"
FAILURE = "OrchestrationFailureException"
"""What a failed orchestration, or entity, has raised as far as the SDK is told."""

StepKind = Literal["activity", "child", "timer", "call", "signal", "clear"]


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One thing that an orchestration schedules.

    Attributes:
        id: Its number, from 0 in the order of scheduling.
        kind: An activity, a sub-orchestration, a timer, an entity's call or a signal to it; ``clear`` is the host's
            own: the deletion of an ended instance, whose id a sub-orchestration is to have.
        name: The function's name; of an entity, its scheduler id.
        input: What it is given: JSON text.
        child_id: A sub-orchestration's instance id; empty if it was not given one.
        operation: An entity's operation.
        request: The id of a message to an entity.
        fire_at: When a timer is due, seconds since the epoch.
    """

    id: int
    kind: StepKind
    name: str = ""
    input: str | None = None
    child_id: str = ""
    operation: str = ""
    request: str = ""
    fire_at: float = 0.0

    def told(self) -> str:
        """Name it for people."""
        if self.kind == "timer":
            return "a timer"
        if self.kind == "child":
            return f"sub-orchestration {self.name!r}"
        if self.kind == "activity":
            return "call_http" if self.name == HTTP_ACTIVITY else f"activity {self.name!r}"
        return f"{'a call' if self.kind == 'call' else 'a signal'} to entity {self.name!r}"


def entity_of(scheduler_id: str) -> tuple[str, str]:
    """Give the name and key in an entity's scheduler id."""
    _, name, key = scheduler_id.split("@", 2)
    return name, key


def scheduled(step: Step, now: float) -> history.Event:
    """Give the event that says that a step was scheduled."""
    match step.kind:
        case "activity":
            return history.event(Kind.TASK_SCHEDULED, now, step.id, Name=step.name, Input=step.input)
        case "child":
            fields = {"Name": step.name, "InstanceId": step.child_id, "Input": step.input}
            return history.event(Kind.CHILD_CREATED, now, step.id, **fields)
        case "timer":
            return history.event(Kind.TIMER_CREATED, now, step.id, FireAt=history.timestamp(step.fire_at))
        case _:
            message = {"op": step.operation, "signal": step.kind == "signal", "input": step.input, "id": step.request}
            fields = {"Name": "op", "InstanceId": step.name, "Input": json.dumps(message)}
            return history.event(Kind.EVENT_SENT, now, step.id, **fields)


def landed(step: Step, kind: str, value: Any, time: float) -> history.Event:
    """Give the event that says what became of a step.

    Args:
        step: The step.
        kind: Whether it landed as its ``result`` or as a ``failure``.
        value: What it gave, JSON text; of a failure its message and its details.
        time: When, seconds since the epoch.
    """
    match step.kind:
        case "timer":
            return history.event(Kind.TIMER_FIRED, time, TimerId=step.id, FireAt=history.timestamp(step.fire_at))
        case "call":
            return history.event(
                Kind.EVENT_RAISED, time, Name=step.request, Input=value if kind == "result" else _unanswered(value[0])
            )
        case "child":
            completed, failed = Kind.CHILD_COMPLETED, Kind.CHILD_FAILED
        case _:
            completed, failed = Kind.TASK_COMPLETED, Kind.TASK_FAILED
    if kind == "result":
        return history.event(completed, time, TaskScheduledId=step.id, Result=value)
    reason, details = value
    return history.event(failed, time, TaskScheduledId=step.id, Reason=reason, Details=details)


def _unanswered(why: str) -> str:
    return json.dumps({"result": json.dumps(why), "exceptionType": FAILURE})
