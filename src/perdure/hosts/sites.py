"""What the routes of an app stand on: the same on every host."""

from __future__ import annotations

from perdure import app as apps
from perdure.hosts.local import settings
from perdure.routes import runs as run_store
from perdure.routes import sessions as session_store
from perdure.routes import site


def of(
    app: apps.AgentFunctionApp,
    told: settings.Settings,
    runs: run_store.Runs,
    sessions: session_store.Sessions | None,
    *,
    stream_wait_seconds: float | None = None,
) -> site.Site:
    """Give what the routes of an app stand on.

    Args:
        app: The app.
        told: Its settings.
        runs: Its runs.
        sessions: The sessions of its agents; None where it hosts none.
        stream_wait_seconds: How long a client waits that asks for a stream; None for as long as it takes.
    """
    return site.Site(
        app.hosted_workflows,
        runs,
        agents=[agent.describe() for agent in app.hosted_agents.values()],
        prefix=told.route_prefix,
        base_url=told.base_url,
        trusted_proxies=told.trusted_proxies,
        body_limit=told.body_limit,
        hosted_agents=app.hosted_agents,
        sessions=sessions,
        agent_wait_seconds=app.agent_wait_seconds,
        stream_wait_seconds=stream_wait_seconds,
        with_health=app.enable_health_check,
    )
