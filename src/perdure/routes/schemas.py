"""JSON schemas of what the API answers, and workflows' input schemas made fit for one document."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_TIME = {"type": "string", "format": "date-time"}
_STATUS = {"enum": ["Pending", "Running", "Completed", "Failed", "Terminated", "Suspended"]}
_OUTPUT = {"type": ["array", "null"], "description": "The list of outputs; null until the run completed."}
_ERROR = {"type": ["string", "null"]}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


COMPONENTS: Mapping[str, Any] = {
    "Started": _object(
        "instanceId statusQueryGetUri respondUri message",
        instanceId={"type": "string"},
        statusQueryGetUri={"type": "string"},
        respondUri={"type": "string"},
        message={"type": "string"},
    ),
    "Ended": _object(
        "instanceId runtimeStatus output",
        instanceId={"type": "string"},
        runtimeStatus=_STATUS,
        output=_OUTPUT,
        error=_ERROR,
    ),
    "Status": _object(
        "instanceId runtimeStatus customStatus output error createdTime lastUpdatedTime",
        instanceId={"type": "string"},
        runtimeStatus=_STATUS,
        customStatus={},
        output=_OUTPUT,
        error=_ERROR,
        createdTime=_TIME,
        lastUpdatedTime=_TIME,
        pendingHumanInputRequests={"type": "array", "items": {"$ref": "#/components/schemas/Pending"}},
    ),
    "Pending": _object(
        "requestId sourceExecutor requestData requestType responseType responseSchema respondUrl",
        requestId={"type": "string"},
        sourceExecutor={"type": "string"},
        requestData={"description": "What is asked."},
        requestType={"type": "string"},
        responseType={"type": "string"},
        responseSchema={"type": "object", "description": "A JSON schema of the answer."},
        respondUrl={"type": "string", "description": "Where the answer is posted."},
    ),
    "Answered": _object(
        "message instanceId requestId",
        message={"type": "string"},
        instanceId={"type": "string"},
        requestId={"type": "string"},
    ),
    "Run": _object(
        "instanceId workflow runtimeStatus error createdTime lastUpdatedTime statusQueryGetUri",
        instanceId={"type": "string"},
        workflow={"type": "string"},
        runtimeStatus=_STATUS,
        error=_ERROR,
        createdTime=_TIME,
        lastUpdatedTime=_TIME,
        statusQueryGetUri={"type": "string"},
    ),
    "Runs": _object(
        "runs cursor",
        runs={"type": "array", "items": {"$ref": "#/components/schemas/Run"}},
        cursor={"type": ["string", "null"], "description": "Give it back to get the next page; null at the end."},
    ),
    "Event": _object(
        "id type time data", id={"type": "integer"}, type={"type": "string"}, time=_TIME, data={"type": "object"}
    ),
    "Events": _object(
        "instanceId events next",
        instanceId={"type": "string"},
        events={"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
        next={"type": ["string", "null"], "description": "Where further events are, or will be; null at the end."},
    ),
    "Cancel": _object("", reason={"type": "string"}),
    "Problem": _object(
        "type title status detail error",
        type={"type": "string"},
        title={"type": "string"},
        status={"type": "integer"},
        detail={"type": "string"},
        error={"type": "string"},
        errors={
            "type": "array",
            "items": _object("pointer detail", pointer={"type": "string"}, detail={"type": "string"}),
        },
    ),
}


def hoisted(workflow: str, schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Move a schema's own definitions to the document's components, under names of this workflow.

    Returns:
        The schema, and the definitions by component name.
    """
    prefix = identifier(workflow)
    names = {name: f"{prefix}.{identifier(name)}" for name in schema.get("$defs", {})}
    bare = {key: value for key, value in schema.items() if key != "$defs"}
    definitions = {names[name]: _renamed(value, names) for name, value in schema.get("$defs", {}).items()}
    return _renamed(bare, names), definitions


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _renamed(item, names) for key, item in value.items()}
    ref = value.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/$defs/"):
        name, slash, rest = ref.removeprefix("#/$defs/").partition("/")
        if name in names:
            changed["$ref"] = f"#/components/schemas/{names[name]}{slash}{rest}"
    return changed


def identifier(name: str) -> str:
    """Make a name fit for a component or an operation, still its own."""
    legal = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return legal if legal == name else f"{legal}_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def path_segment(name: str) -> str:
    """Encode a workflow's name as one segment of a path."""
    return quote(name, safe="")
