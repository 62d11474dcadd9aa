"""A task hub on a scheduler: an app, the scheduler, and the store that all processes of the hub share."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import pathlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Self

from perdure import app as apps
from perdure import errors
from perdure.agents import naming
from perdure.hosts.durabletask import client, sdk, worker
from perdure.hosts.replay import activities, deletions, lifetimes, runs, sessions, turn_records
from perdure.payloads import records, store
from perdure.payloads.stores import folder_store
from perdure.workflow import addresses, hosted, protocol, values

BLOB = "blob"

FOLDER_SECONDS: Final = 2.0
"""How long the folder of payloads, which may be on another machine, has to say that it is there."""

INLINE: Final = values.Inline(message=1536, state=256, executor=1536, delta=2048)
"""To write a blob costs more than a dozen actions, whatever is in those; what a step takes stays small."""

SWEEP_SECONDS: Final = 86_400.0
"""How often a worker clears away what nobody else has; it does so as it begins too."""

logger = logging.getLogger("perdure")


class Stores(NamedTuple):
    """Where payloads and records are.

    Attributes:
        payloads: The payloads.
        records: The records.
        container: What is to be opened and closed; None where nothing is.
        trouble: Says why they cannot be had; None where that is not asked.
    """

    payloads: store.PayloadStore
    records: records.RecordStore
    container: Any = None
    trouble: Callable[[], Awaitable[str | None]] | None = None

    async def open(self) -> None:
        """Make sure that it is there.

        Raises:
            HubError: If it cannot be reached.
        """
        if self.container is not None:
            await self.container.open()

    async def close(self) -> None:
        """Let go of it."""
        if self.container is not None:
            await self.container.close()


def stores(place: str, taskhub: str, environ: Mapping[str, str]) -> Stores:
    """Give the store of a task hub.

    Args:
        place: ``blob`` for Blob Storage in the account of ``AzureWebJobsStorage``, or a folder.
        taskhub: The task hub.
        environ: The settings.

    Raises:
        UsageError: If no storage account is configured, or the folder cannot be used.
    """
    if place == BLOB:
        from perdure.payloads.stores import blob_container, blob_health, blob_store, storage_account

        container = blob_container.Container(storage_account.of(environ), blob_container.name_of(taskhub))
        health = blob_health.Health(container)
        return Stores(
            blob_store.BlobPayloadStore(container), blob_store.BlobRecordStore(container), container, health.trouble
        )
    folder = pathlib.Path(place).expanduser().absolute() / taskhub
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.UsageError(
            f"The folder for payloads cannot be made: {error}.", "Give one in which this process may write."
        ) from error
    return Stores(
        folder_store.FolderPayloadStore(folder),
        folder_store.FolderRecordStore(folder),
        trouble=functools.partial(_folder_trouble, folder),
    )


async def _folder_trouble(folder: pathlib.Path) -> str | None:
    try:
        async with asyncio.timeout(FOLDER_SECONDS):
            there = await asyncio.to_thread(os.access, folder, os.R_OK | os.W_OK | os.X_OK)
    except TimeoutError:
        return f"The folder for payloads {folder} has not answered within {FOLDER_SECONDS:g} s."
    return None if there else f"The folder for payloads {folder} is not there, or this process may not write in it."


class Hub:
    """An app on a task hub.

    Args:
        app: The app.
        where: The scheduler and the task hub.
        kept: The store.
        base_url: Where the HTTP API is, for executors that mail somebody a link; that of the environment if empty.
        route_prefix: What its routes stand under.

    Raises:
        UsageError: If the app has what this host does not run.
    """

    def __init__(
        self,
        app: apps.AgentFunctionApp,
        where: sdk.Address,
        kept: Stores,
        *,
        base_url: str = "",
        route_prefix: str = addresses.DEFAULT_ROUTE_PREFIX,
    ) -> None:
        self.app = app
        self.where = where
        self.stores = kept
        self.bounds = {
            name: workflow.bind(kept.payloads, shared=True, inline=INLINE)
            for name, workflow in app.hosted_workflows.items()
        }
        self.agents = {name: agent.bind(kept.payloads) for name, agent in app.hosted_agents.items()}
        if not self.bounds and not self.agents:
            raise errors.UsageError(
                "This app hosts no workflow and no agent, and workers run nothing else yet.",
                "Host hand-written functions with `perdure start` or on Azure Functions.",
            )
        self._lifetimes = lifetimes.Lifetimes(kept.payloads, kept.records)
        reached = {addresses.HOST_URL: base_url} if base_url else {}
        for bound in self.bounds.values():
            bound.activities.host_metadata = {**reached, addresses.ROUTE_PREFIX: route_prefix}

    async def __aenter__(self) -> Self:
        """Open the store.

        Raises:
            HubError: If it cannot be reached.
        """
        await self.stores.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self.stores.close()

    def worker(self, *, at_once: int = sdk.ACTIVITIES_AT_ONCE) -> worker.Worker:
        """Make a worker whose executors run on the running loop."""
        given: dict[str, protocol.Activity] = {}
        for bound in self.bounds.values():
            given |= hosted.activities_of(bound)
        for agent in self.agents.values():
            turns = turn_records.Recorded(agent.turns, self.stores.payloads, self.stores.records)
            given[agent.activity_name] = turns
        work = activities.Activities(given, self.stores.payloads, self.stores.records, self._release)
        orchestrators: dict[str, protocol.Orchestrator] = {
            bound.orchestrator.name: bound.orchestrator for bound in self.bounds.values()
        }
        orchestrators |= {agent.orchestrator.name: agent.orchestrator for agent in self.agents.values()}
        connected = self.connect()
        return worker.Worker(
            self.where,
            orchestrators,
            work,
            [*given],
            self.stores.payloads,
            begun=lambda: self._sweep_daily(connected),
            ended=lambda instance_id: self._ended(instance_id, connected),
            close=connected.close,
            credential=sdk.credential(self.where),
            at_once=at_once,
        )

    def connect(self) -> client.SchedulerClient:
        """Make a client; it belongs to the loop that uses it."""
        return client.SchedulerClient(self.where, sdk.credential_for_loop(self.where))

    def runs(self, connected: client.SchedulerClient) -> runs.ReplayRuns:
        """Give the runs of the hub."""
        kept = self.stores
        return runs.ReplayRuns(connected, kept.payloads, kept.records, self.bounds, storage_trouble=kept.trouble)

    def sessions(self, connected: client.SchedulerClient) -> sessions.ReplaySessions:
        """Give the sessions of the hub's agents."""
        return sessions.ReplaySessions(connected, self.stores.payloads, self.stores.records, self.agents)

    async def _sweep_daily(self, connected: client.SchedulerClient) -> None:
        while True:
            await self._sweep(connected)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep(self, connected: client.SchedulerClient) -> None:
        """Clear away sessions whose worker was killed before it could, and what came late for runs that are deleted."""
        try:
            for state in await connected.completed(lifetimes.PREFIX) if self.agents else ():
                await self._ended(state.id, connected)
            await deletions.Deletions(connected, self.stores.payloads, self.stores.records).sweep()
        except errors.HubError as error:
            # It is looked again, and so does a session's next turn.
            logger.info("It was not possible to look for what is to be cleared away: %s", error)

    async def _ended(self, instance_id: str, connected: client.SchedulerClient) -> None:
        """Clear away a session that has ended."""
        if naming.life_of(instance_id) is None:
            return
        try:
            await self._lifetimes.clear(instance_id, connected)
        except errors.HubError as error:
            logger.warning("Session %r has ended and could not be cleared away: %s", instance_id, error)

    def _release(self, run: str) -> None:
        for agent in self.agents.values():
            agent.turns.release(run)
        for bound in self.bounds.values():
            bound.release(run)
