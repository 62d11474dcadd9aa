"""An app's workflows and agents as orchestrations of the embedded engine, with its own functions beside them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from azure.functions.decorators import function_app

from perdure.agents import hosted as hosted_agents
from perdure.agents import naming
from perdure.engine import engine, records
from perdure.hosts.local import runs as engine_runs
from perdure.hosts.local import sessions as engine_sessions
from perdure.hosts.local.functions import agents as agent_entities
from perdure.hosts.local.functions import declared, service, workflows
from perdure.payloads import refs
from perdure.routes import runs, sessions
from perdure.workflow import hosted, protocol


class Stoppable(runs.Runs, Protocol):
    """Runs of a host that may be about to stop."""

    stopping: bool


class Embedded:
    """What an app has on the engine; made on the engine's loop.

    Args:
        app: Where its functions are declared.
        flows: The workflows that are orchestrations of the engine, by the name they are hosted under.
        living: The agents that are, likewise.

    Attributes:
        bounds: The workflows that runs are of.
        direct: The workflows that are orchestrations of the engine, by their durable names.
        runs: The runs, once the engine is attached.
        sessions: The sessions of agents, likewise.
    """

    runs: Stoppable
    sessions: sessions.Sessions

    def __init__(
        self,
        app: function_app.FunctionRegister,
        flows: Mapping[str, hosted.HostedWorkflow],
        living: Mapping[str, hosted_agents.HostedAgent],
    ) -> None:
        self._app = app
        self._payloads = _Late()
        self._flows = self.bounds = {name: workflow.bind(self._payloads) for name, workflow in flows.items()}
        self.direct = {bound.orchestrator.name: bound for bound in self._flows.values()}
        self._living = {name: agent.bind(self._payloads) for name, agent in living.items()}

    @property
    def orchestrators(self) -> dict[str, protocol.Orchestrator]:
        """Those of the workflows and agents, by their durable names."""
        found: dict[str, protocol.Orchestrator] = {name: bound.orchestrator for name, bound in self.direct.items()}
        return found | {agent.orchestrator.name: agent.orchestrator for agent in self._living.values()}

    @property
    def activities(self) -> dict[str, protocol.Activity]:
        """Those of the workflows and agents, by their durable names."""
        found: dict[str, protocol.Activity] = {}
        for bound in self._flows.values():
            found |= hosted.activities_of(bound)
        for agent in self._living.values():
            found |= agent.activities
        return found

    async def open(self) -> None:
        """Get ready; before ``functions``."""

    def functions(self, folder: pathlib.Path, hub: str) -> service.Functions:
        """Give the app's own functions.

        Args:
            folder: The app's folder.
            hub: The task hub's name.

        Raises:
            UsageError: If one cannot be hosted, or has the name of something else.
        """
        found = declared.of(
            self._app,
            agents=map(naming.entity, self._living),
            workflows=self.direct,
            taken=[*self.orchestrators, *self.activities],
        )
        return service.Functions(found, folder, hub, workflows.Workflows(self._flows))

    def attach(self, durable: engine.Engine, functions: service.Functions) -> None:
        """Take the engine, which is about to start."""
        self._payloads.engine = durable
        held = engine_runs.EngineRuns(durable, self._flows)
        self._sessions = engine_sessions.EngineSessions(durable, self._living)
        functions.attach(durable, agent_entities.Agents(self._living, self._sessions), held)
        self.runs, self.sessions = held, self._sessions

    async def sweep(self) -> None:
        """Delete what is left of sessions that ended in an earlier life of the host."""
        await self._sessions.sweep()

    @property
    def has_sessions(self) -> bool:
        """Whether sessions are to hear of commits."""
        return bool(self._living)

    def heard(self, instance_id: str, name: str, emitted: Sequence[bytes], view: records.InstanceView | None) -> bool:
        """Let sessions take note of a commit; False if it is no session's."""
        return self._sessions.heard(instance_id, name, emitted, view)

    async def completed(self, view: records.InstanceView) -> tuple[bytes, str]:
        """Give a completed run's encoded output, and who owns what it keeps."""
        return view.output or b"", view.id

    def close(self) -> None:
        """Let go of what is held of runs; the engine has ended."""


class _Late:
    """The engine's payload store, which is there only once the engine has started."""

    engine: engine.Engine

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Store blobs."""
        await self.engine.payloads.put(owner, blobs)

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give a payload."""
        return self.engine.payloads.read(owner, digest)

    async def purge(self, owner: str) -> None:
        """Delete an owner's payloads."""
        await self.engine.payloads.purge(owner)
