"""What ``func start`` and Azure find in an app: the functions of its workflows and agents, beside its own."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types

from perdure import app as apps
from perdure import errors, loops
from perdure.hosts import sites
from perdure.hosts.azure import client, entities, hosting, mcp_triggers, orchestration, storage, sweep, triggers
from perdure.hosts.local import settings
from perdure.hosts.replay import deletions, runs
from perdure.routes import site, table
from perdure.workflow import addresses

HOSTNAME: Final = "WEBSITE_HOSTNAME"
"""The setting in which the Functions host has the app's name on the network."""

EARLIER_SECONDS: Final = 15.0
"""How long an app that is being indexed waits for the storage account to say what earlier deployments had."""

MANY_EARLIER: Final = 100
"""More activities that are gone than an app has come to by being changed."""

logger = logging.getLogger("perdure")


def register(app: apps.AgentFunctionApp, *, with_earlier: bool = True) -> None:
    """Add the functions of an app's workflows and agents to it.

    Args:
        app: The app.
        with_earlier: Whether those that only runs of earlier deployments know are among them; the storage account is
            asked for their names.

    Raises:
        UsageError: If ``host.json`` or a setting is not acceptable.
        HubError: If the storage account cannot say what functions earlier deployments had.
    """
    folder = app.app_folder or pathlib.Path()
    told = settings.load(folder, os.environ)
    hub = storage.task_hub(told.task_hub, settings.DEFAULT_HUB, os.environ)
    kept = storage.Storage(os.environ, hub)
    loop = executors()
    hosted = hosting.Hosting(app.hosted_workflows, app.agents_for_orchestrations, kept, kept, loop)
    address = told.base_url or _address(os.environ)
    if address:
        metadata = {addresses.HOST_URL: address, addresses.ROUTE_PREFIX: told.route_prefix}
        for bound in hosted.bounds.values():
            bound.activities.host_metadata = metadata
    hosted.register(app, _earlier(hosted, kept, loop) if with_earlier else ())

    async def site_of(inner: df.DurableOrchestrationClient) -> site.Site:
        engine = client.DurableClient(inner, kept)
        return sites.of(
            app,
            told,
            runs.ReplayRuns(
                engine,
                kept,
                kept,
                hosted.bounds,
                inline_bytes=orchestration.CALL_LIMIT_BYTES,
                storage_trouble=kept.trouble,
            ),
            hosted.sessions(entities.DurableEntities(inner)),
            # A function answers once: the stream is to end while somebody is there to read it.
            stream_wait_seconds=app.agent_wait_seconds,
        )

    routed = [name for name, agent in app.hosted_agents.items() if agent.http_endpoint]
    triggers.add(app, table.of(app.hosted_workflows, routed, with_health=app.enable_health_check), site_of)
    tools = [agent for agent in app.hosted_agents.values() if agent.mcp_tool]
    mcp_triggers.add(app, tools, site_of)

    async def swept(inner: df.DurableOrchestrationClient) -> None:
        await deletions.Deletions(client.DurableClient(inner, kept), kept, kept).sweep()
        await hosted.sessions(entities.DurableEntities(inner)).sweep()

    if hosted.bounds or any(agent.session_ttl for agent in app.hosted_agents.values()):
        sweep.add(app, swept)


def executors() -> loops.Loop:
    """Make the one loop on which all executors of a process run, so that cached clients and locks go on working.

    It is not the worker's own: an executor that blocks it, or waits for storage, holds up no HTTP request.
    """
    return loops.Loop("perdure-executors")


def _earlier(hosted: hosting.Hosting, kept: storage.Storage, loop: loops.Loop) -> list[str]:
    """Give the names of functions that only runs of earlier deployments know.

    Without them the app is not served: the engine would fail each such run, for good, as soon as it takes it up, while
    an app that has no functions is one that the host starts again.
    """
    if not hosted.bounds:
        return []

    async def within() -> list[str]:
        try:
            async with asyncio.timeout(EARLIER_SECONDS):
                return await hosted.earlier()
        finally:
            # Whoever indexes an app may not be who serves it.
            await kept.close()

    try:
        found = loop.call_now(within())
    except TimeoutError:
        raise _unknown(f"Blob Storage has not answered for {EARLIER_SECONDS:g} s.", "Is it there?") from None
    except errors.PerdureError as error:
        raise _unknown(error.message, error.remedy) from error
    if len(found) > MANY_EARLIER:
        logger.warning(
            "This task hub has had %d activities that are gone, %r and others. They stay functions, as runs may need "
            "them. Does an executor have another id at each start?",
            len(found),
            found[-1],
        )
    return found


def _unknown(why: str, remedy: str) -> errors.HubError:
    return errors.HubError(
        f"{why} Only there it is written which functions the runs of earlier deployments need; the app has none until "
        "that can be read.",
        remedy,
    )


def _address(environ: Mapping[str, str]) -> str:
    """Give where the app is reached, as the Functions host says; empty if it does not."""
    host = environ.get(HOSTNAME, "")
    if not host:
        return ""
    here = host.partition(":")[0] in ("localhost", "127.0.0.1")
    return f"{'http' if here else 'https'}://{host}"
