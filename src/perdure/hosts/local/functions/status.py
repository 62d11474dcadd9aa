"""How instances and their histories are shown."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Any

from perdure.hosts.local.functions import history, instances
from perdure.hosts.local.functions.history import Kind

_LANDED = {
    Kind.TASK_COMPLETED: Kind.TASK_SCHEDULED,
    Kind.TASK_FAILED: Kind.TASK_SCHEDULED,
    Kind.CHILD_COMPLETED: Kind.CHILD_CREATED,
    Kind.CHILD_FAILED: Kind.CHILD_CREATED,
}


def of(held: instances.Instances, state: instances.State, *, with_input: bool) -> dict[str, Any]:
    """Give an instance's status as the management API does."""
    return {
        "name": state.view.name,
        "instanceId": state.view.id,
        "runtimeStatus": state.runtime_status,
        "input": held.input(state) if with_input else None,
        "customStatus": state.status.custom,
        "output": state.output,
        "createdTime": second(state.view.created),
        "lastUpdatedTime": second(state.view.updated),
    }


def second(time: float) -> str:
    """Write a time in whole seconds."""
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def history_of(events: Iterable[history.Event], *, with_input: bool, with_output: bool) -> list[dict[str, Any]]:
    """Give a history for people: what was scheduled goes into what became of it."""
    shown: list[dict[str, Any]] = []
    scheduled: dict[tuple[int, int], dict[str, Any]] = {}
    for event in events:
        kind = Kind(event["EventType"])
        item: dict[str, Any] = {**event, "EventType": history.NAMES[kind]}
        number = item.pop("EventId")
        if kind in (Kind.TASK_SCHEDULED, Kind.CHILD_CREATED):
            scheduled[kind, number] = item
        elif kind in _LANDED:
            _join(item, scheduled.get((_LANDED[kind], item.pop("TaskScheduledId"))), shown, with_input=with_input)
        elif kind == Kind.EXECUTION_STARTED:
            item["FunctionName"] = item.pop("Name")
            item.pop("Version", None)
        elif kind == Kind.TIMER_FIRED:
            item.pop("TimerId")
        if "Result" in item and kind not in (Kind.TASK_FAILED, Kind.CHILD_FAILED):
            result = item.pop("Result")
            if with_output:
                item["Result"] = _parsed(result)
        if not with_input:
            item.pop("Input", None)
        shown.append(item)
    return shown


def _join(
    item: dict[str, Any], before: dict[str, Any] | None, shown: list[dict[str, Any]], *, with_input: bool
) -> None:
    if before is None:
        return
    item["ScheduledTime"] = before["Timestamp"]
    item["FunctionName"] = before["Name"]
    if with_input:
        item["Input"] = before.get("Input")
    shown[:] = [other for other in shown if other is not before]


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
