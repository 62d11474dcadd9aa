"""The HTTP API in front of a task hub: it runs nothing itself, and there may be several of it."""

from __future__ import annotations

import asyncio
from typing import Self

from perdure.hosts.durabletask import hub as hubs
from perdure.hosts.local import server, serving, settings


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
            UsageError: If the port cannot be had, or the package for MCP tools is not installed.
        """
        told = self._told
        try:
            self._server = serving.server_of(self._hub.app, told, (told.host, told.port), self.runs, self.sessions)
            address, port = self._server.start()
        except BaseException:
            await self._client.close()
            raise
        self.url = f"http://{server.host_in_url(address)}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take no more requests, finish those under way, and hang up."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
        await self._client.close()
