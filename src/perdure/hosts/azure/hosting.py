"""An app's workflows and agents on Durable Functions: what is registered of them, and what its routes stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types

from perdure import loops
from perdure.agents import hosted as hosted_agents
from perdure.agents import naming
from perdure.hosts.azure import agents, beside, entities, registration, sdk, sessions
from perdure.hosts.replay import activities, lives, wire
from perdure.payloads import records, store
from perdure.workflow import hosted, values

NAMES: Final = "@functions"
"""Whose records are the names of the activities that this hub ever had; no run can have such an id."""

INLINE: Final = values.Inline(message=1536, state=1536, executor=1536, changes=3072, delta=3072)
"""To write a blob costs as much as a dozen requests to queues, whatever is in those; what a step takes stays small."""


class Hosting:
    """The workflows and agents of an app over a store.

    Args:
        workflows: The workflows by the name they are hosted under.
        living: The agents that have sessions, likewise.
        payloads: Where payloads are kept.
        kept: Where records are kept.
        executors: The loop that executors and agents run on.
    """

    def __init__(
        self,
        workflows: Mapping[str, hosted.HostedWorkflow],
        living: Mapping[str, hosted_agents.HostedAgent],
        payloads: store.PayloadStore,
        kept: records.RecordStore,
        executors: loops.Loop,
    ) -> None:
        sdk.remember_times()
        self._executors = executors
        self._payloads = payloads
        self._records = kept
        self._lives = lives.Replays()
        self.bounds = {
            name: workflow.bind(payloads, shared=True, inline=INLINE) for name, workflow in workflows.items()
        }
        self.agents = {name: agent.bind(payloads) for name, agent in living.items()}
        self.by_orchestration = {bound.orchestrator.name: bound for bound in self.bounds.values()}
        self._work = activities.Activities(
            {name: one for bound in self.bounds.values() for name, one in hosted.activities_of(bound).items()},
            payloads,
            kept,
            self._release,
        )

    async def earlier(self) -> list[str]:
        """Give the names of activities that earlier deployments had and this one has not, and remember those of this.

        The engine fails an orchestration in whose past there is an activity whose function is gone. So those functions
        stay: what is asked of them waits, and says so, until there is code again that does it.

        Raises:
            HubError: If the store cannot be had.
        """
        known, names = set(await self._records.names(NAMES)), set(self._names)
        await asyncio.gather(*(self._records.put_if_absent(NAMES, name, b"") for name in names - known))
        return sorted(known - names)

    def register(self, app: df.DFApp, earlier: Iterable[str] = ()) -> None:
        """Add the orchestrator, activity and entity functions to an app.

        Args:
            app: The app.
            earlier: Names of activities of earlier deployments.
        """
        registration.add_orchestrators(app, [bound.orchestrator for bound in self.bounds.values()], self._lives)
        aside = beside.Beside(self.by_orchestration, self._payloads, self._records)
        registration.add_activities(app, [*self._names, *earlier], self._perform, aside)
        for bound in self.agents.values():
            entity = agents.Entity(bound, self._payloads, self._records, self._executors.call)
            name = naming.entity(bound.hosted.name)
            # An agent inside a workflow has the name of the activity that it is there.
            registration.add_entity(app, f"{name}-entity" if name in self._names else name, name, entity)

    def sessions(self, engine: entities.Entities) -> sessions.EntitySessions:
        """Give the sessions of the agents, over the entities of the engine."""
        return sessions.EntitySessions(engine, self._payloads, self._records, self.agents)

    def close(self) -> None:
        """Let go of what is held of runs between their turns."""
        self._lives.close()

    @property
    def _names(self) -> list[str]:
        return [name for bound in self.bounds.values() for name in bound.activity_names]

    async def _perform(self, instance_id: str, name: str, task: wire.Task) -> wire.Reply:
        return await self._executors.call(self._work(instance_id, name, task))

    def _release(self, run: str) -> None:
        for bound in self.bounds.values():
            bound.release(run)
