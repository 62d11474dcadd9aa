"""Agents as functions with triggers of MCP tools: the Functions extension for MCP serves them and calls these."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types

from perdure.agents import hosted
from perdure.hosts.azure import triggers
from perdure.routes import tool_calls
from perdure.workflow import naming

TRIGGER: Final = "mcpToolTrigger"
PROPERTIES: Final = json.dumps(
    [
        {
            "propertyName": each.name,
            "propertyType": "string",
            "description": each.description,
            "isRequired": each.required,
            "isArray": False,
        }
        for each in tool_calls.PROPERTIES
    ]
)


def add(app: df.DFApp, tools: Iterable[hosted.HostedAgent], site_of: triggers.SiteOf) -> None:
    """Add a function for each agent that is an MCP tool."""
    for agent in tools:
        bound = app.durable_client_input("client")(_tool(agent, site_of))
        # Not by the decorator for it, which has no word for the result's schema in older releases.
        trigger = app.generic_trigger(
            "context",
            TRIGGER,
            toolName=tool_calls.tool_name(agent.name),
            description=tool_calls.description(agent),
            toolProperties=PROPERTIES,
            useResultSchema=True,
        )
        app.function_name(f"mcptool-{naming.legal(agent.name)}")(trigger(bound))


def result(given: tool_calls.Answer) -> str:
    """Give an answer as the extension takes a whole result: so an error is one, with its reason, and not just a text.

    Of a function that raises the extension tells its caller only that something went wrong.
    """
    whole: dict[str, Any] = {"content": [{"type": "text", "text": given.text}], "isError": given.is_error}
    if given.session_id is not None:
        whole["_meta"] = {"sessionId": given.session_id}
    return json.dumps({"type": "call_tool_result", "content": json.dumps(whole)})


def _tool(
    agent: hosted.HostedAgent, site_of: triggers.SiteOf
) -> Callable[[str, df.DurableOrchestrationClient], Awaitable[str]]:
    async def ask(context: str, client: df.DurableOrchestrationClient) -> str:
        site = await site_of(client)
        given = json.loads(context)
        return result(
            await tool_calls.answer(site.conversations, agent, given.get("arguments") or {}, site.agent_wait_seconds)
        )

    return ask
