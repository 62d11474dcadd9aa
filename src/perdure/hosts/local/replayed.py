"""Workflows on the embedded engine as Azure would run them: through the functions that are registered there."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Sequence
from typing import Any, Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import msgspec

from perdure import app as apps
from perdure import loops
from perdure.engine import engine, records
from perdure.hosts.azure import entities as azure_entities
from perdure.hosts.azure import hosting, orchestration, statuses, wire
from perdure.hosts.local import embedded
from perdure.hosts.local.functions import entities, instances, sdk, service
from perdure.hosts.replay import client, runs
from perdure.payloads import records as beside
from perdure.payloads.stores import folder_store
from perdure.routes import runs as routes

KEPT: Final = "beside"
"""The folder in a hub's folder that stands for Blob Storage."""


class Replayed(embedded.Embedded):
    """An app's workflows and agents as functions beside its own, and what they keep beside the engine.

    Args:
        app: The app.
        hub: The hub's folder.
    """

    def __init__(self, app: apps.AgentFunctionApp, hub: pathlib.Path) -> None:
        self._registered = df.DFApp()
        super().__init__(self._registered, {}, {})
        self._stored = folder_store.FolderPayloadStore(hub / KEPT)
        self._kept = folder_store.FolderRecordStore(hub / KEPT)
        living = app.agents_for_orchestrations if sdk.has_functions(app) else app.hosted_agents
        here = loops.Loop("perdure-executors", asyncio.get_running_loop())
        self._hosting = hosting.Hosting(app.hosted_workflows, living, self._stored, self._kept, here)
        self.bounds = self._hosting.bounds
        sdk.adopt(app, self._registered)

    async def open(self) -> None:
        """Register the functions.

        Raises:
            HubError: If what is kept beside the engine cannot be read.
        """
        self._hosting.register(self._registered, await self._hosting.earlier())

    def attach(self, durable: engine.Engine, functions: service.Functions) -> None:
        """Take the engine, which is about to start: runs and sessions are over its instances and entities."""
        super().attach(durable, functions)
        there = InstancesClient(functions.instances, self._kept)
        limit = orchestration.CALL_LIMIT_BYTES
        self.runs = self._runs = ReplayedRuns(there, self._stored, self._kept, self.bounds, inline_bytes=limit)
        self.sessions = self._hosting.sessions(LocalEntities(functions.entities))

    async def completed(self, view: records.InstanceView) -> tuple[bytes, str]:
        """Give a completed run's encoded output, and who owns what it keeps."""
        output, _, owner = await self._runs.completed(view.id)
        return output, owner

    def close(self) -> None:
        """Let go of what is held of runs between their turns."""
        self._hosting.close()


class ReplayedRuns(runs.ReplayRuns):
    """Runs of this process, which may be about to stop."""

    stopping = False

    async def trouble(self) -> str | None:
        """Say what keeps the host from taking work; None where nothing does."""
        return routes.STOPPING if self.stopping else None


class LocalEntities:
    """Entities of this host as sessions reach them; on the engine's loop.

    Args:
        held: The entities.
    """

    def __init__(self, held: entities.Entities) -> None:
        self._held = held

    async def signal(self, name: str, key: str, operation: str, value: Any) -> None:
        """Send a message."""
        await self._held.signal(name, key, operation, value, given=True)

    async def read(self, name: str, key: str) -> Any:
        """Give an entity's state."""
        found = self._held.get(name, key)
        return None if found is None else json.loads(found.state or "null")

    async def list(self, name: str) -> Sequence[azure_entities.Listed]:
        """Give the entities of a name."""
        return [
            azure_entities.Listed(each.key, json.loads(each.entity.state or "null")) for each in self._held.list(name)
        ]


class InstancesClient:
    """Instances of this host as a client of an engine reaches them; on the engine's loop.

    Args:
        held: The instances.
        kept: Where the records beside them are.
    """

    def __init__(self, held: instances.Instances, kept: beside.RecordStore) -> None:
        self._instances = held
        self._records = kept

    async def start(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration; False if there is one of this id, whether it has ended or not."""
        if self._instances.get(instance_id) is not None:
            return False
        return await self.start_again(name, instance_id, call)

    async def start_again(self, name: str, instance_id: str, call: str) -> bool:
        """Start an orchestration in the place of one that has ended; False if that has not."""
        try:
            await self._instances.start(name, instance_id, wire.pack(wire.Start(call)))
        except instances.Exists:
            return False
        return True

    async def get(self, instance_id: str) -> client.State | None:
        """Give an orchestration with its output."""
        return await self._state(self._instances.get(instance_id))

    async def given(self, instance_id: str) -> str | None:
        """Give what began the life of an orchestration; None if it is not there, or was started by hand."""
        state = self._instances.get(instance_id)
        return None if state is None else wire.begun(self._instances.input(state))

    async def wait(self, instance_id: str, seconds: float) -> client.State | None:
        """Give an orchestration as soon as it has ended, or as it stands when the time is over."""
        return await self._state(await self._instances.ended(instance_id, seconds))

    async def raise_event(self, instance_id: str, name: str, data: str) -> None:
        """Send an event; one for nobody is lost."""
        await self._instances.raise_event(instance_id, name, wire.pack(wire.Event(data)))

    async def terminate(self, instance_id: str, reason: str) -> None:
        """End an orchestration from outside."""
        await self._instances.terminate(instance_id, reason)

    async def purge(self, instance_id: str) -> None:
        """Delete an orchestration that has ended."""
        await self._instances.purge(instance_id)

    async def list(self, created_from: float, created_to: float, prefix: str) -> Sequence[client.State]:
        """Give the orchestrations created from one time up to another, without their outputs."""
        found: list[client.State] = []
        cursor: str | None = None
        while True:
            page, cursor = self._instances.query((), created_from, created_to, prefix, cursor, instances.PAGE)
            found += [shown for each in page if (shown := await self._state(each, outputs=False)) is not None]
            if cursor is None:
                return found

    async def trouble(self) -> str | None:
        """Say why the engine does not answer: it does, being here."""
        return None

    async def _state(self, state: instances.State | None, *, outputs: bool = True) -> client.State | None:
        if state is None:
            return None
        view = state.view
        shown = client.State(
            view.id,
            view.name,
            state.runtime_status,
            view.created,
            view.updated,
            custom_status=await statuses.said(state.status.custom, view.id, self._records),
            failure=view.failure,
        )
        if not outputs or view.status != "Completed":
            return shown
        output = await wire.ended(state.output, shown.owner, self._records)
        return msgspec.structs.replace(shown, output=output)
