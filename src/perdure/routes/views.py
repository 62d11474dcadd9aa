"""Runs and events as the JSON that clients see."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import quote

from perdure.routes import runs
from perdure.workflow import protocol


def iso(seconds: float) -> str:
    """Give a time since the epoch as ISO 8601 in UTC, to the microsecond."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def error(failure: protocol.Failure | None) -> str | None:
    """Give a failure in a line."""
    if failure is None:
        return None
    return f"{failure.type}: {failure.message}" if failure.type else failure.message


def status(run: runs.Run, respond: str = "") -> dict[str, Any]:
    """Show a run as its status route does.

    Args:
        run: The run.
        respond: What the links to its requests start with.
    """
    shown: dict[str, Any] = {
        "instanceId": run.id,
        "runtimeStatus": run.status,
        "customStatus": run.custom_status,
        "output": run.output,
        "error": error(run.failure),
        "createdTime": iso(run.created),
        "lastUpdatedTime": iso(run.updated),
    }
    if run.requests:
        shown["pendingHumanInputRequests"] = [pending(asked, respond) for asked in run.requests]
    return shown


def pending(asked: runs.Pending, respond: str) -> dict[str, Any]:
    """Show a request that waits for its answer."""
    shown = {
        "requestId": asked.id,
        "sourceExecutor": asked.executor,
        "requestData": asked.data,
        "requestType": asked.request_type,
        "responseType": asked.response_type,
        "responseSchema": asked.schema,
        "respondUrl": f"{respond}/{quote(asked.id, safe='~')}",
    }
    return shown | ({"deadline": iso(asked.deadline)} if asked.deadline else {})


def ended(run: runs.Run) -> dict[str, Any]:
    """Show an ended run as the answer to a client that waited for it."""
    shown: dict[str, Any] = {"instanceId": run.id, "runtimeStatus": run.status, "output": run.output}
    if run.failure is not None:
        shown["error"] = error(run.failure)
    return shown


def summary(run: runs.Run, link: str) -> dict[str, Any]:
    """Show a run as one of a list."""
    return {
        "instanceId": run.id,
        "workflow": run.workflow,
        "runtimeStatus": run.status,
        "error": error(run.failure),
        "createdTime": iso(run.created),
        "lastUpdatedTime": iso(run.updated),
        "statusQueryGetUri": link,
    }


def event(item: runs.Event) -> dict[str, Any]:
    """Show an event."""
    shown = {"type": item.type, "time": iso(item.time), "data": item.data}
    return {"id": item.id, **shown} if item.id else shown
