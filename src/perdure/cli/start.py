"""``perdure start``: host an app until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from perdure import _version, platform
from perdure import app as apps
from perdure.hosts.local import loading, logs, settings
from perdure.hosts.local.functions import listing
from perdure.routes import table

DRAIN_SECONDS = 30.0
"""How long a stopping host lets the steps in flight finish; what is left goes on at the next start."""


def start(
    place: str, *, port: int | None, host: str | None, hub: str | None, log_json: bool, replay: bool = False
) -> None:
    """Load an app and serve it until SIGINT or SIGTERM.

    Raises:
        UsageError: If the app, its settings, the hub or the port cannot be used.
    """
    file = loading.locate(place)
    told = settings.load(file.parent, os.environ, hub=absolute(hub), host=host, port=port)
    told.apply(os.environ)
    logs.pass_through(as_json=log_json)
    app = loading.load(file)
    asyncio.run(_serve(app, told, logs.RunLog(as_json=log_json), replay=replay))


def absolute(path: str | None) -> Path | None:
    """Give a path that stays right whatever folder user code changes to."""
    return None if path is None else Path(path).expanduser().absolute()


async def _serve(app: apps.AgentFunctionApp, told: settings.Settings, log: logs.RunLog, *, replay: bool) -> None:
    from perdure.hosts.local import host as local

    stop = Stop()
    async with local.LocalHost(
        app, hub=told.hub, settings=told, host=told.host, port=told.port, log=log, replay=replay
    ) as hosting:
        for line in banner(app, told, hosting.url or ""):
            log.say(line)
        if log.as_json:
            log.note(f"Serving {', '.join([*app.hosted_agents, *app.hosted_workflows])} on {hosting.url}")
        if hosting.resumed:
            log.note(f"{hosting.resumed} in flight when the hub was let go: they go on from where they were.")
        await stop.asked()
        log.note("Stopping: what runs is finished or parked. Once more to stop at once.")
        await hosting.drain(DRAIN_SECONDS)


class Stop:
    """SIGINT and SIGTERM: the first asks to stop, the second ends the process.

    Make it on the main thread, with the loop running.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._count = 0
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None:
                platform.wake_on(number, self._loop)
                signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            # A hub survives this at any moment, as it survives a power cut.
            os._exit(1)
        self._loop.call_soon_threadsafe(self._asked.set)

    async def asked(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()


def banner(app: apps.AgentFunctionApp, told: settings.Settings, url: str) -> Iterable[str]:
    """Give the lines that say what is served and where."""
    root = f"{url}/{told.route_prefix}".rstrip("/")
    yield f"perdure {_version.__version__}, hub {told.hub}"
    yield ""
    yield "Functions:"
    yield ""
    for line in (*routes(app, root), *listing.of(app, root), *tools(app, url)):
        yield f"        {line}"
    yield ""
    yield f"Try it: {root}/docs   Stop: Ctrl-C"
    yield ""


def routes(app: apps.AgentFunctionApp, root: str) -> Iterable[str]:
    """Give the lines that say where the routes of workflows and agents are, below an address with the prefix."""
    agents = [name for name, agent in app.hosted_agents.items() if agent.http_endpoint]
    for route in table.of(app.hosted_workflows, agents, with_health=app.enable_health_check):
        yield f"{route.name}: [{route.method}] {root}/{route.path}"


def tools(app: apps.AgentFunctionApp, url: str) -> Iterable[str]:
    """Give the line that says where agents are that are MCP tools, if any is one."""
    names = [name for name, agent in app.hosted_agents.items() if agent.mcp_tool]
    if names:
        yield f"MCP tools {', '.join(names)}: {url}/runtime/webhooks/mcp"
