"""The HTTP API in front of a task hub: it runs nothing itself, and there may be several of it."""

from __future__ import annotations

import asyncio
from typing import Self

from perdure.hosts.durabletask import hub as hubs
from perdure.hosts.local import bridge, bridged_sessions, cors, server, settings
from perdure.routes import site


class Front:
    """Serves the workflows and agents of a hub over HTTP.

    Args:
        hub: The hub; opened.
        told: How it is set up.
    """

    def __init__(self, hub: hubs.Hub, told: settings.Settings) -> None:
        self._hub = hub
        self._told = told
        self._client = hub.connect()
        self.runs = hub.runs(self._client)
        self.sessions = hub.sessions(self._client)
        self.url = ""
        self._server: server.Server | None = None

    async def __aenter__(self) -> Self:
        """Serve.

        Raises:
            UsageError: If the port cannot be had.
        """
        app, told = self._hub.app, self._told
        loop = asyncio.get_running_loop()
        where = site.Site(
            app.hosted_workflows,
            bridge.BridgedRuns(self.runs, loop),
            agents=[agent.describe() for agent in app.hosted_agents.values()],
            hosted_agents=app.hosted_agents,
            sessions=bridged_sessions.BridgedSessions(self.sessions, loop) if app.hosted_agents else None,
            agent_wait_seconds=app.agent_wait_seconds,
            prefix=told.route_prefix,
            base_url=told.base_url,
            trusted_proxies=told.trusted_proxies,
            body_limit=told.body_limit,
            with_health=app.enable_health_check,
        )
        self._server = server.Server(where, told.host, told.port, cors=told.cors or cors.Cors())
        address, port = self._server.start()
        self.url = f"http://{server.host_in_url(address)}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take no more requests, finish those under way, and hang up."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
        await self._client.close()
