"""The Functions extension for MCP, played after its source: what it reads of a trigger, sends, and makes of the answer.

Clients reach it in this process; a function is called at the route that ``library.app_of`` has put in its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import mcp
import mcp_types as types
from mcp.server import context as contexts
from mcp.server import lowlevel
from tests.worker import library

Given = contexts.ServerRequestContext[Any, Any]


class Tool:
    """A tool as its trigger's binding tells of it."""

    def __init__(self, trigger: Mapping[str, Any]) -> None:
        self.name: str = trigger["toolName"]
        self.description: str | None = trigger.get("description")
        self.shapes_result: bool = trigger.get("useResultSchema", False)
        properties = json.loads(trigger["toolProperties"])
        self.required: list[str] = [each["propertyName"] for each in properties if each.get("isRequired")]
        self.schema: dict[str, Any] = {
            "type": "object",
            "properties": {
                each["propertyName"]: {"type": each["propertyType"], "description": each["description"]}
                for each in properties
            },
            "required": self.required,
        }
        assert not any(each.get("isArray") for each in properties), "arrays are not played here"

    def context(self, arguments: Mapping[str, Any] | None) -> str:
        """What the function is told of a call; what is null is left out."""
        told: dict[str, Any] = {"name": self.name}
        if arguments is not None:
            told["arguments"] = dict(arguments)
        headers = {"accept": "application/json, text/event-stream", "mcp-session-id": "of-the-transport"}
        told["sessionid"] = "of-the-transport"
        told["clientinfo"] = {"name": "tests", "version": "1"}
        told["transport"] = {
            "name": "http-streamable",
            "sessionId": "of-the-transport",
            "properties": {"headers": headers},
        }
        return json.dumps(told)

    def result(self, given: str) -> types.CallToolResult:
        """What the caller is told."""
        if not self.shapes_result:
            return types.CallToolResult(content=[types.TextContent(text=given)])
        shaped = json.loads(given)
        assert shaped["type"] == "call_tool_result", shaped
        return types.CallToolResult.model_validate_json(shaped["content"])


def tools(functions: list[library.Function]) -> dict[str, Tool]:
    """The tools of an app; refuses two of one name, in any case."""
    found: dict[str, Tool] = {}
    for function in functions:
        if function.trigger["type"] == library.MCP_TRIGGER:
            tool = Tool(function.trigger)
            assert tool.name.lower() not in found, f"two tools are called {tool.name!r}"
            found[tool.name.lower()] = tool
    return found


def serving(functions: list[library.Function], reached: httpx.AsyncClient) -> mcp.Client:
    """Give a client of the tools of an app."""
    registry = tools(functions)

    async def list_all(context: Given, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(name=tool.name, description=tool.description, input_schema=tool.schema)
                for tool in registry.values()
            ]
        )

    async def call(context: Given, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = registry[params.name.lower()]
        missing = [name for name in tool.required if (params.arguments or {}).get(name) is None]
        if missing:
            raise mcp.MCPError(types.INVALID_PARAMS, f"One or more required tool properties are missing: {missing}")
        answer = await reached.post(f"{library.MCP_ROUTE}/{tool.name}", content=tool.context(params.arguments))
        # Of a function that raises a caller is told no more than this.
        if answer.status_code != 200:
            raise mcp.MCPError(types.INTERNAL_ERROR, "An error occurred.")
        return tool.result(answer.text)

    return mcp.Client(lowlevel.Server("extension", on_list_tools=list_all, on_call_tool=call))
