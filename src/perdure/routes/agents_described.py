"""The routes of agents in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perdure.routes import schemas, sessions

_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_PART: Final = {
    "description": "A text, or a content part.",
    "anyOf": [
        _TEXT,
        {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {
                    "enum": [
                        "text",
                        "input_text",
                        "uri",
                        "data",
                        "image_url",
                        "input_image",
                        "file",
                        "input_file",
                        "hosted_file",
                        "function_result",
                        "function_approval_response",
                    ]
                }
            },
        },
    ],
}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


COMPONENTS: Final[Mapping[str, Any]] = {
    "AgentRequest": _object(
        "message",
        message={"anyOf": [_TEXT, {"type": "array", "items": _PART}]},
        session_id=_TEXT,
        thread_id={**_TEXT, "deprecated": True, "description": "The old name of session_id."},
        role={"enum": ["user", "system", "assistant", "developer"], "default": "user"},
        response_format={"type": "object", "description": "A JSON schema of the answer."},
        enable_tool_calls={"type": "boolean", "default": True},
        wait_for_response={"type": "boolean", "default": True},
        correlation_id={**_TEXT, "description": "Names the request: the same name again is the same request."},
        options={"type": "object", "description": "Further chat options."},
    ),
    "AgentAnswer": _object(
        "response message session_id thread_id status correlation_id",
        response={"type": ["string", "null"]},
        message=_TEXT,
        session_id=_TEXT,
        thread_id={**_TEXT, "deprecated": True},
        status={"enum": ["success", "accepted", "error"]},
        correlation_id=_TEXT,
        message_count=_COUNT,
        requests={"type": "array", "items": {"type": "object"}, "description": "What the agent asks."},
        error=_TEXT,
    ),
    "Session": _object(
        "session_id agent created updated message_count pending expires",
        session_id=_TEXT,
        agent=_TEXT,
        created=_TIME,
        updated=_TIME,
        message_count=_COUNT,
        pending={**_COUNT, "description": "Turns that wait or run."},
        expires={"anyOf": [_TIME, {"type": "null"}]},
        turns={"type": "array", "items": {"type": "object"}},
        cursor={"type": ["string", "null"]},
    ),
}


def describe(agent: sessions.HostedAgent) -> dict[str, Any]:
    """Give the paths of an agent."""
    tag = schemas.identifier(agent.name)
    path = f"/agents/{schemas.path_segment(agent.name)}"
    cursor = _query("cursor", "Where the page before ended.", _TEXT)
    limit = _query("limit", "Items a page.", {"type": "integer", "minimum": 1, "maximum": 1000})
    one = [{"name": "id", "in": "path", "required": True, "description": "The session's id.", "schema": _TEXT}]
    unknown = {"404": _problem("No such session.")}
    return {
        f"{path}/run": {"post": _run(agent, tag)},
        f"{path}/sessions": {
            "get": _operation(
                f"sessions_{tag}",
                agent,
                "Sessions, newest first.",
                {"200": _json("A page of sessions.", {"type": "object"}), "400": _problem("A value is not allowed.")},
                [_query("prefix", "Only ids that start so.", _TEXT), cursor, limit],
            )
        },
        f"{path}/sessions/{{id}}": {
            "get": _operation(
                f"session_{tag}",
                agent,
                "A session with its newest turns, or those before a cursor.",
                {"200": _json("The session.", _ref("Session")), **unknown},
                [*one, cursor, limit],
            ),
            "delete": _operation(
                f"deleteSession_{tag}",
                agent,
                "Delete a session with all that it kept.",
                {"204": {"description": "Deleted."}, **unknown},
                one,
            ),
        },
        f"{path}/sessions/{{id}}/reset": {
            "post": _operation(
                f"resetSession_{tag}",
                agent,
                "Forget the conversation, after the turns accepted before.",
                {
                    "200": _json("Forgotten.", {"type": "object"}),
                    "202": _json("It will be, after the turns before.", {"type": "object"}),
                    **unknown,
                },
                one,
            )
        },
    }


def hosted() -> dict[str, Any]:
    """Give the path of the list of agents."""
    answer = {"200": _json("The agents.", {"type": "object"})}
    return {"/agents": {"get": {"operationId": "agents", "tags": ["host"], "summary": "Agents.", "responses": answer}}}


def _run(agent: sessions.HostedAgent, tag: str) -> dict[str, Any]:
    answer = {**_json("The answer.", _ref("AgentAnswer"))}
    answer["content"]["text/plain"] = {"schema": _TEXT}
    said = "With Accept: text/event-stream alone: deltas while the agent speaks, then one answer or problem."
    answer["content"]["text/event-stream"] = {"schema": {**_TEXT, "description": said}}
    operation = _operation(
        f"runAgent_{tag}",
        agent,
        "One turn of a session.",
        {
            "200": answer,
            "202": _json("Accepted, and not waited for to the end.", _ref("AgentAnswer")),
            "400": _problem("The request is not acceptable."),
            "409": _problem("The session has had another request under this key."),
            "410": _problem("The session was deleted meanwhile."),
            "413": _problem("The body is over the limit."),
            "500": _json("The agent failed.", _ref("AgentAnswer")),
        },
        [
            _query("session_id", "The session; a new one if not given.", _TEXT),
            _query("wait_for_response", "Whether to wait for the answer.", {"type": "boolean", "default": True}),
            _header("x-ms-wait-for-response", "The same; goes before the query and the body."),
            _header("Idempotency-Key", "Names the request, as correlation_id does."),
            _header("Prefer", "wait=N waits up to N seconds."),
        ],
    )
    content = {"application/json": {"schema": _ref("AgentRequest")}, "text/plain": {"schema": _TEXT}}
    operation["requestBody"] = {"required": True, "content": content}
    return operation


def _operation(
    operation_id: str, agent: sessions.HostedAgent, summary: str, responses: Mapping[str, Any], parameters: Any
) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": [agent.name],
        "summary": summary,
        "parameters": list(parameters),
        "responses": dict(responses),
    }


def _query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": _TEXT}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": _ref("Problem")}}}
