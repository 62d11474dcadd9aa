"""The web server of an app, whichever engine its runs and sessions are on."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from perdure import app as apps
from perdure import errors
from perdure.hosts import sites
from perdure.hosts.local import bridge, bridged_sessions, cors, names, server, settings, web
from perdure.routes import runs, sessions


def server_of(
    app: apps.AgentFunctionApp,
    told: settings.Settings,
    address: tuple[str, int],
    held_runs: runs.Runs,
    held_sessions: sessions.Sessions,
    *,
    beside: web.Beside | None = None,
) -> server.Server:
    """Make the server of an app's workflows and agents; its runs and sessions are on the running loop.

    Args:
        app: The app.
        told: How it is set up.
        address: Where to listen; port 0 takes a free one.
        held_runs: Its runs.
        held_sessions: The sessions of its agents.
        beside: What is served beside them.

    Raises:
        UsageError: If an agent is an MCP tool, and the package for that is not installed.
    """
    loop = asyncio.get_running_loop()
    bridged = bridged_sessions.BridgedSessions(held_sessions, loop)
    where = sites.of(app, told, bridge.BridgedRuns(held_runs, loop), bridged if app.hosted_agents else None)
    tools = _tools(app, bridged, told.body_limit)
    own = names.of(address[0], [urlsplit(told.base_url).hostname or "", *told.allowed_hosts])
    return server.Server(where, *address, cors=told.cors or cors.Cors(), beside=beside, mounted=tools, names=own)


def _tools(app: apps.AgentFunctionApp, held: sessions.Sessions, body_limit: int) -> web.Mounted | None:
    """Give what serves the app's agents as MCP tools; None if none of them is one."""
    tools = [name for name, agent in app.hosted_agents.items() if agent.mcp_tool]
    if not tools:
        return None
    try:
        from perdure.hosts.local import mcp_tools
    except ModuleNotFoundError as error:
        raise errors.UsageError(
            f"The agent {tools[0]!r} is an MCP tool, and the package {error.name!r} for that is not installed.",
            "Install it: pip install 'perdure[mcp]'",
        ) from error
    return mcp_tools.Tools(app.hosted_agents, held, app.agent_wait_seconds, body_limit)
