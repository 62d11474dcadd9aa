"""The API described as OpenAPI 3.1, and a page to try it from."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable, Mapping
from typing import Any

from perdure.routes import agents_described, hosted, messages, schemas
from perdure.routes import site as sites
from perdure.workflow import options

PAGE_POLICY = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"  # noqa: E501


async def document(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET openapi.json``: what this host serves."""
    root = f"{site.origin(request)}/{site.prefix}".rstrip("/")
    return messages.json(describe(site, root))


async def page(site: sites.Site, request: messages.Request) -> messages.Reply:
    """``GET docs``: a page that reads ``openapi.json`` and sends requests."""
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": PAGE_POLICY,
        "x-content-type-options": "nosniff",
    }
    return messages.Reply(200, headers, _page())


@functools.cache
def _page() -> bytes:
    return importlib.resources.files("perdure.routes").joinpath("page.html").read_bytes()


def describe(site: sites.Site, root: str) -> dict[str, Any]:
    """Give the OpenAPI document of a site whose routes stand below ``root``."""
    paths: dict[str, Any] = {}
    components = dict(schemas.COMPONENTS)
    for workflow in site.workflows.values():
        shown, definitions = schemas.hoisted(workflow.name, workflow.describe().get("inputSchema") or {})
        components |= definitions
        paths |= _workflow(workflow, shown, f"/workflow/{schemas.path_segment(workflow.name)}")
    if len(site.workflows) == 1:
        (only,) = site.workflows.values()
        shown, _ = schemas.hoisted(only.name, only.describe().get("inputSchema") or {})
        paths["/workflow/run"] = {"post": _start("startSoleWorkflow", only, shown)}
    served = [site.hosted_agents[name] for name in site.agent_names]
    for agent in served:
        paths |= agents_described.describe(agent)
    if served:
        components |= agents_described.COMPONENTS
        paths |= agents_described.hosted()
    paths |= _managing()
    if not site.with_health:
        del paths["/health"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "perdure", "version": "1", "description": "Durable agents and workflows over HTTP."},
        "servers": [{"url": root}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _workflow(workflow: hosted.Hosted, schema: Mapping[str, Any], path: str) -> dict[str, Any]:
    tag = schemas.identifier(workflow.name)
    run_id = _in_path("id", "The run's id.")
    return {
        f"{path}/run": {"post": _start(f"start_{tag}", workflow, schema)},
        path: {
            "get": _operation(
                f"graph_{tag}", workflow.name, "The graph, its input schema and a Mermaid drawing.",
                {"200": _json("The graph.", {"type": "object"})}, [],
            )
        },
        f"{path}/status/{{id}}": {
            "get": _operation(
                f"status_{tag}", workflow.name, "A run as it stands.",
                {"200": _json("The run.", _ref("Status")), "404": _problem("No such run.")}, [run_id],
            )
        },
        f"{path}/respond/{{id}}/{{request}}": {
            "post": _respond(tag, workflow, run_id),
            "delete": _operation(
                f"withdraw_{tag}", workflow.name, "Withdraw an open request of a run.",
                {
                    "200": _json("It is withdrawn; who asked is told, and the run goes on.", _ref("Answered")),
                    "404": _problem("No such run or request."),
                    "409": _problem("The request has been answered or withdrawn."),
                },
                [run_id, _in_path("request", "The request's id.")],
            ),
        },
        f"{path}/events/{{id}}": {
            "get": _operation(
                f"events_{tag}", workflow.name,
                "What happens in a run: server-sent events until the final one, or pages when JSON is accepted.",
                {
                    "200": {
                        "description": "The events.",
                        "content": {
                            "text/event-stream": {"schema": {"type": "string"}},
                            "application/json": {"schema": _ref("Events")},
                        },
                    },
                    "404": _problem("No such run."),
                },
                [
                    run_id,
                    _in_query("after", "Only events with ids above this.", {"type": "integer", "minimum": 0}),
                    _in_query("limit", "Events a page.", {"type": "integer", "minimum": 1, "maximum": 10000}),
                    _in_header("Last-Event-ID", "The last event seen before the connection broke."),
                ],
            )
        },
    }  # fmt: skip


def _start(operation_id: str, workflow: hosted.Hosted, schema: Mapping[str, Any]) -> dict[str, Any]:
    operation = _operation(
        operation_id, workflow.name, "Start a run.",
        {
            "200": _json("Waited for, and ended.", _ref("Ended")),
            "202": _json("Started.", _ref("Started")),
            "400": _problem("The body, runId or a wait value is not acceptable."),
            "409": _problem("The runId exists with another input or other options."),
            "413": _problem("The body is over the limit."),
        },
        [
            _in_query("runId", "The run's id; the same id and input again give the same run.",
                      {"type": "string", "minLength": 1, "maxLength": 100}),
            _in_query("waitForResponse", "Wait for the run to end.", {"type": "boolean", "default": False}),
            _in_query("timeoutSeconds", "How long to wait.",
                      {"type": "number", "minimum": 1, "maximum": 200, "default": 10}),
            _in_header("Prefer", "wait=N waits up to N seconds."),
        ],
    )  # fmt: skip
    content = {
        "application/json": {"schema": dict(schema)},
        "text/plain": {"schema": {"type": "string"}},
        options.MEDIA_TYPE: {"schema": _envelope(schema)},
    }
    operation["requestBody"] = {"required": True, "content": content}
    return operation


def _envelope(schema: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {"type": "object", "description": "For all executors, or by executor id."}
    return {
        "type": "object",
        "required": ["input"],
        "additionalProperties": False,
        "properties": {
            "input": dict(schema),
            "tools": {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "object"}]},
                "description": "Names of the app's runtime tools, declarations, or tools that the model's side runs.",
            },
            "function_invocation_kwargs": arguments,
            "client_kwargs": arguments,
            "stream": {"type": "boolean", "default": False, "description": "Agents run in streaming mode."},
        },
    }


def _respond(tag: str, workflow: hosted.Hosted, run_id: Mapping[str, Any]) -> dict[str, Any]:
    operation = _operation(
        f"respond_{tag}", workflow.name, "Answer an open request of a run.",
        {
            "200": _json("The answer is kept; the run goes on.", _ref("Answered")),
            "400": _problem("There is no body, or it is not JSON."),
            "404": _problem("No such run or request."),
            "409": _problem("The request has been answered or withdrawn."),
            "422": _problem("The answer does not fit the type asked for; the request stays open."),
        },
        [run_id, _in_path("request", "The request's id.")],
    )  # fmt: skip
    content = {"application/json": {"schema": {}}, "text/plain": {"schema": {"type": "string"}}}
    operation["requestBody"] = {"required": True, "content": content}
    return operation


def _managing() -> dict[str, Any]:
    run_id = _in_path("id", "The run's id.")
    anything = {"type": "object"}
    return {
        "/workflows": {"get": _operation("workflows", "host", "The hosted workflows.",
                                         {"200": _json("The workflows.", anything)}, [])},
        "/runs": {
            "get": _operation(
                "runs", "runs", "Runs of any workflow, newest first.",
                {"200": _json("A page of runs.", _ref("Runs")), "400": _problem("A value is not allowed.")},
                [
                    _in_query("status", "One or more of these, separated by commas.", {"type": "string"}),
                    _in_query("workflow", "Only runs of this workflow.", {"type": "string"}),
                    _in_query("createdFrom", "Created then or later.", {"type": "string", "format": "date-time"}),
                    _in_query("createdTo", "Created before then.", {"type": "string", "format": "date-time"}),
                    _in_query("prefix", "Only ids that start so.", {"type": "string"}),
                    _in_query("cursor", "Where the page before ended.", {"type": "string"}),
                    _in_query("limit", "Runs a page.", {"type": "integer", "minimum": 1, "maximum": 1000}),
                ],
            )
        },
        "/runs/{id}/cancel": {
            "post": {
                **_operation(
                    "cancelRun", "runs", "End a run as Terminated.",
                    {"200": _json("The run.", _ref("Status")), "404": _problem("No such run."),
                     "409": _problem("It has ended already.")},
                    [run_id],
                ),
                "requestBody": {"content": {"application/json": {"schema": _ref("Cancel")}}},
            }
        },
        "/runs/{id}/rewind": {
            "post": _operation(
                "rewindRun", "runs", "Let a failed run go on from the step that failed.",
                {"202": _json("The run, which goes on.", _ref("Status")), "404": _problem("No such run."),
                 "409": _problem("It has not failed, or left no step to go on from.")},
                [run_id],
            )
        },
        "/runs/{id}": {
            "delete": _operation(
                "deleteRun", "runs", "Delete an ended run with all that it kept.",
                {"204": {"description": "Deleted."}, "404": _problem("No such run."),
                 "409": _problem("It has not ended.")},
                [run_id],
            )
        },
        "/health": {
            "get": _operation(
                "health", "host", "Whether the host can take work.",
                {"200": _json("It can.", anything), "503": _json("It cannot.", anything)}, [],
            )
        },
        "/openapi.json": {
            "get": _operation("openapi", "host", "This document.", {"200": _json("OpenAPI 3.1.", anything)}, [])
        },
    }  # fmt: skip


def _operation(
    operation_id: str, tag: str, summary: str, responses: Mapping[str, Any], parameters: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "parameters": list(parameters),
        "responses": dict(responses),
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": dict(schema)}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _in_path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _in_query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def _in_header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
