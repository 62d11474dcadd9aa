"""The instances of orchestrations, hand-written ones and the runs of workflows: started, looked at and managed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from perdure.engine import engine, records
from perdure.hosts.local.functions import declared, history, orchestration, workflows
from perdure.hosts.local.functions.history import Kind
from perdure.routes import runs

PAGE = 500
ID_LIMIT = 100


class Exists(Exception):
    """An instance of that id lives."""


class State(NamedTuple):
    """An instance as it stands.

    Attributes:
        view: What the engine says of it.
        status: What it says of itself.
        outputs: What a workflow gave; None for a function, and until it has ended.
    """

    view: records.InstanceView
    status: orchestration.Status
    outputs: list[Any] | None = None

    @property
    def runtime_status(self) -> runs.Status:
        """Where it is in its life."""
        return "Suspended" if self.status.suspended and not self.view.ended else self.view.status

    @property
    def output(self) -> Any:
        """What it returned, or why it failed or was terminated; None while it runs."""
        if self.view.failure is not None:
            return self.view.failure.message
        if self.outputs is not None:
            return self.outputs
        return None if self.view.output is None else json.loads(self.view.output)


class Instances:
    """Instances on the engine; touched on its loop only.

    Args:
        durable: The engine; started.
        functions: The functions of the app.
        flows: Its workflows.
    """

    def __init__(self, durable: engine.Engine, functions: declared.Declared, flows: workflows.Workflows) -> None:
        self._engine = durable
        self._functions = functions
        self._flows = flows
        self._names = [*(function.name for function in functions.orchestrator.values()), *flows.names]

    async def start(self, name: str, instance_id: str, value: Any) -> str:
        """Start an orchestration, in the place of an ended one of that id; gives its id. Accepted when it returns.

        Raises:
            LookupError: If there is no such orchestrator.
            ValueError: If the id cannot be used.
            Exists: If one of that id lives.
            InvalidInput: If a workflow takes no such input.
            HubError: If it could not be made durable.
        """
        name = self._functions.known("orchestrator", name)
        instance_id = instance_id or uuid.uuid4().hex
        check_id(instance_id)
        while True:
            status, new = await self._begin(name, instance_id, value)
            if new:
                return instance_id
            if status not in runs.ENDED:
                raise Exists(f"An Orchestration instance with the status {status} already exists.")
            await self._engine.purge(instance_id)

    async def _begin(self, name: str, instance_id: str, value: Any) -> tuple[str, bool]:
        if name in self._flows:
            run, new = await self._flows.start(name, instance_id, value)
            return run.status, new
        view, new = await self._engine.begin(name, instance_id, msgspec.json.encode(orchestration.Start(value)))
        return view.status, new

    def get(self, instance_id: str) -> State | None:
        """Give an instance, or None."""
        view = self._engine.view(instance_id)
        return None if view is None or view.name not in self._names else self._state(view)

    def _state(self, view: records.InstanceView) -> State:
        if view.name in self._flows:
            run = self._flows.shown(view)
            return State(view, orchestration.Status(run.custom_status), run.output)
        if view.custom_status is None:
            return State(view, orchestration.Status())
        return State(view, msgspec.json.decode(view.custom_status, type=orchestration.Status))

    def is_workflow(self, state: State) -> bool:
        """Whether an instance is the run of a workflow."""
        return state.view.name in self._flows

    async def ended(self, instance_id: str, seconds: float) -> State | None:
        """Give an instance as soon as it has ended, or as it stands when the time is over."""
        view = await self._engine.wait(instance_id, seconds)
        return None if view is None else self._state(view)

    def query(
        self,
        statuses: Sequence[str],
        created_from: float | None,
        created_to: float | None,
        prefix: str,
        cursor: str | None,
        limit: int,
    ) -> tuple[list[State], str | None]:
        """List instances, newest first; gives a page and where the next one starts."""
        views, after = self._engine.query(
            names=self._names,
            statuses=[status for status in statuses if status != "Suspended"] or (["Running"] if statuses else []),
            created_from=created_from,
            created_to=created_to,
            prefix=prefix,
            children=True,
            cursor=cursor,
            limit=limit,
        )
        states = [self._state(view) for view in views if not view.id.startswith("@")]
        return [state for state in states if not statuses or state.runtime_status in statuses], after

    def input(self, state: State) -> Any:
        """Give what an instance was started with, or continued as new with; None for a workflow's run."""
        if self.is_workflow(state):
            return None
        found = self._engine.events(state.view.id, state.status.started - 1, 1)
        return json.loads(json.loads(found[0].data)["Input"]) if found else None

    def history(self, state: State) -> list[history.Event]:
        """Give the history of an instance's last execution; that of a workflow's run is its event log, elsewhere."""
        if self.is_workflow(state):
            return []
        events: list[history.Event] = []
        after = state.status.started - 1
        while page := self._engine.events(state.view.id, after, PAGE):
            events += [json.loads(event.data) for event in page]
            after = page[-1].id
        return events

    async def raise_event(self, instance_id: str, name: str, value: Any) -> bool:
        """Send an event, to a workflow an answer; False if the instance has ended or is unknown.

        Raises:
            LookupError: If a workflow has no request of that name.
            InvalidInput: If the answer does not fit.
        """
        if self._is_flow(instance_id):
            return await self._flows.raise_event(instance_id, name, value)
        return await self._engine.raise_event(instance_id, name, json.dumps(value).encode())

    async def terminate(self, instance_id: str, reason: str) -> bool:
        """End an instance; False if it had ended or is unknown."""
        if self._is_flow(instance_id):
            return await self._flows.terminate(instance_id, reason)
        view = self._engine.view(instance_id)
        time = 0.0 if view is None else view.updated
        event = history.event(Kind.EXECUTION_TERMINATED, time, Input=reason)
        return await self._engine.terminate(instance_id, reason, msgspec.json.encode(event))

    async def switch(self, instance_id: str, reason: str, *, suspend: bool) -> bool:
        """Suspend or resume an instance; False if it has ended or is unknown."""
        name = orchestration.SUSPEND if suspend else orchestration.RESUME
        return await self._engine.raise_event(instance_id, name, reason.encode())

    async def rewind(self, instance_id: str) -> bool:
        """Set a failed instance going again before its failure; False if it has not failed or belongs to another."""
        if self._is_flow(instance_id):
            return await self._flows.rewind(instance_id)
        return await self._engine.reopen(instance_id, orchestration.REWIND)

    async def purge(self, instance_id: str) -> bool:
        """Delete an ended instance; False if it has not ended or is unknown."""
        return await self._engine.purge(instance_id)

    def _is_flow(self, instance_id: str) -> bool:
        view = self._engine.view(instance_id)
        return view is not None and view.name in self._flows


def check_id(instance_id: str) -> None:
    """Refuse an id that cannot be used.

    Raises:
        ValueError: If it cannot.
    """
    if instance_id.startswith("@"):
        raise ValueError("Orchestration instance ids must not start with @.")
    if any(sign in "/\\#?" or ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in instance_id):
        raise ValueError("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")
    if len(instance_id) > ID_LIMIT:
        raise ValueError(f"Instance ID lengths must not exceed {ID_LIMIT} characters.")
