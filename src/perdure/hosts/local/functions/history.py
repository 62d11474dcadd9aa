"""The history of an orchestration in the SDK's own format."""

from __future__ import annotations

import datetime
import enum
import functools
from typing import Any

Event = dict[str, Any]


class Kind(enum.IntEnum):
    """The types of history events, as the SDK numbers them."""

    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_FAILED = 2
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    CHILD_CREATED = 7
    CHILD_COMPLETED = 8
    CHILD_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_SENT = 14
    EVENT_RAISED = 15
    CONTINUE_AS_NEW = 16
    GENERIC = 17
    SUSPENDED = 19
    RESUMED = 20


NAMES = {
    Kind.EXECUTION_STARTED: "ExecutionStarted",
    Kind.EXECUTION_COMPLETED: "ExecutionCompleted",
    Kind.EXECUTION_FAILED: "ExecutionFailed",
    Kind.EXECUTION_TERMINATED: "ExecutionTerminated",
    Kind.TASK_SCHEDULED: "TaskScheduled",
    Kind.TASK_COMPLETED: "TaskCompleted",
    Kind.TASK_FAILED: "TaskFailed",
    Kind.CHILD_CREATED: "SubOrchestrationInstanceCreated",
    Kind.CHILD_COMPLETED: "SubOrchestrationInstanceCompleted",
    Kind.CHILD_FAILED: "SubOrchestrationInstanceFailed",
    Kind.TIMER_CREATED: "TimerCreated",
    Kind.TIMER_FIRED: "TimerFired",
    Kind.ORCHESTRATOR_STARTED: "OrchestratorStarted",
    Kind.ORCHESTRATOR_COMPLETED: "OrchestratorCompleted",
    Kind.EVENT_SENT: "EventSent",
    Kind.EVENT_RAISED: "EventRaised",
    Kind.CONTINUE_AS_NEW: "ContinueAsNew",
    Kind.GENERIC: "GenericEvent",
    Kind.SUSPENDED: "ExecutionSuspended",
    Kind.RESUMED: "ExecutionResumed",
}


def event(kind: Kind, time: float, event_id: int = -1, **fields: Any) -> Event:
    """Make an event; the time is in seconds since the epoch."""
    return {"EventType": int(kind), "EventId": event_id, "Timestamp": timestamp(time), **fields}


def timestamp(time: float) -> str:
    """Write a time as the SDK does."""
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@functools.lru_cache(1 << 14)
def seconds(text: str) -> float:
    """Read a time that the SDK has written."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.UTC).timestamp()


def without(events: list[Event], numbers: set[int]) -> list[Event]:
    """Give a history without some steps, whatever became of them, and without its end."""
    return [
        item
        for item in events
        if item["EventId"] not in numbers
        and item.get("TaskScheduledId") not in numbers
        and item.get("TimerId") not in numbers
        and item["EventType"] != Kind.EXECUTION_COMPLETED
    ]


def played(events: list[Event]) -> list[Event]:
    """Give a history for a run over it: what came before its last episode has been played."""
    last = max(place for place, item in enumerate(events) if item["EventType"] == Kind.ORCHESTRATOR_STARTED)
    return [{**item, "IsPlayed": place < last} for place, item in enumerate(events)]
