"""Agents as tools of the Model Context Protocol, over Streamable HTTP.

Only an app with such agents imports this module: it needs the package mcp, which is an extra.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import mcp
import mcp_types as types
from mcp.server import context as contexts
from mcp.server import lowlevel, streamable_http_manager, transport_security

from perdure import _version
from perdure.agents import hosted
from perdure.hosts.local import asgi
from perdure.routes import problems, sessions, tool_calls

PATH: Final = "/runtime/webhooks/mcp"
METHODS: Final = ("POST",)
SCHEMA: Final = {
    "type": "object",
    "properties": {each.name: {"type": "string", "description": each.description} for each in tool_calls.PROPERTIES},
    "required": [each.name for each in tool_calls.PROPERTIES if each.required],
}

logger = logging.getLogger("perdure")


class Tools:
    """An ASGI application that serves agents as tools.

    Each request stands alone, so that clients go on where they were when the host was restarted; what is to be
    remembered is in the durable sessions.

    Args:
        agents: The agents by the names they are hosted under; those that are no tools are left out.
        held: Their sessions, on the loop that serves.
        wait_seconds: How long a call waits for its agent.
        body_limit: The largest request body, bytes.
    """

    def __init__(
        self,
        agents: Mapping[str, hosted.HostedAgent],
        held: sessions.Sessions,
        wait_seconds: float,
        body_limit: int,
    ) -> None:
        self.path = PATH
        self.methods = METHODS
        self._agents = {tool_calls.tool_name(name): agent for name, agent in agents.items() if agent.mcp_tool}
        self._sessions = held
        self._wait_seconds = wait_seconds
        server: lowlevel.Server[dict[str, Any]] = lowlevel.Server(
            "perdure", version=_version.__version__, on_list_tools=self._list, on_call_tool=self._call
        )
        self._manager = streamable_http_manager.StreamableHTTPSessionManager(
            server,
            stateless=True,
            max_request_body_size=body_limit,
            # The host looks at names and origins before, and knows more than lists of names.
            security_settings=transport_security.TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be ready to serve."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer a request."""
        if scope["method"] not in METHODS:
            # There is nothing that this host says unasked, and no session that could be ended.
            raise problems.Problem(405, "MCP requests are POSTed here.", headers={"allow": "OPTIONS, POST"})
        await self._manager.handle_request(scope, receive, send)

    async def _list(
        self, context: contexts.ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    title=agent.name,
                    description=tool_calls.description(agent),
                    input_schema=dict(SCHEMA),
                )
                for name, agent in self._agents.items()
            ]
        )

    async def _call(
        self, context: contexts.ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        agent = self._agents.get(params.name)
        if agent is None:
            raise mcp.MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:64]!r} here.")
        given = await tool_calls.answer(self._sessions, agent, params.arguments or {}, self._wait_seconds)
        meta = None if given.session_id is None else {"sessionId": given.session_id}
        return types.CallToolResult(content=[types.TextContent(text=given.text)], is_error=given.is_error, _meta=meta)
