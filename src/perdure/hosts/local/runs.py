"""Runs on the embedded engine: what the routes stand on when the host is this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from opentelemetry import propagate

from perdure.engine import engine, records
from perdure.payloads import refs
from perdure.routes import hosted as input_digests
from perdure.routes import runs
from perdure.workflow import hosted, naming


class EngineRuns:
    """The runs of an app's workflows.

    Args:
        durable: The engine they run on; started.
        bounds: The workflows by the name they are hosted under.
    """

    def __init__(self, durable: engine.Engine, bounds: Mapping[str, hosted.Bound]) -> None:
        self._engine = durable
        self._bounds = bounds
        self._by_orchestration = {bound.orchestrator.name: (name, bound) for name, bound in bounds.items()}
        self.stopping = False

    async def start(
        self, workflow: str, run_id: str, value: refs.Ref, blobs: Sequence[refs.Blob] = ()
    ) -> tuple[runs.Run, bool]:
        """Start a run unless the id exists."""
        bound = self._bounds[workflow]
        trace: dict[str, str] = {}
        propagate.inject(trace)
        view, new = await self._engine.begin(
            bound.orchestrator.name,
            run_id,
            bound.start(value, trace),
            input_digest=input_digests.input_digest(value),
            definition=bound.hosted.shape.definition,
            blobs=blobs,
        )
        return self._run(view), new

    async def get(self, run_id: str) -> runs.Run | None:
        """Give a run, or None for an unknown id."""
        view = self._engine.view(run_id)
        return None if view is None else self._run(view)

    async def wait(self, run_id: str, seconds: float) -> runs.Run | None:
        """Give a run as soon as it has ended, or as it stands when the time is over."""
        view = await self._engine.wait(run_id, seconds)
        return None if view is None else self._run(view)

    async def query(self, query: runs.Query) -> runs.Page:
        """List runs; their outputs are not loaded."""
        names: Iterable[str] = self._by_orchestration
        if query.workflow is not None:
            names = (naming.orchestration(query.workflow),)
        views, cursor = self._engine.query(
            names=tuple(names),
            statuses=query.statuses,
            created_from=query.created_from,
            created_to=query.created_to,
            prefix=query.prefix,
            cursor=query.cursor,
            limit=query.limit,
        )
        return runs.Page([self._run(view, outputs=False) for view in views], cursor)

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[runs.Event]:
        """Give up to ``limit`` events with ids above ``after``."""
        bound = self._bound_of(run_id)
        if bound is None:
            return []
        return [event_of(bound, run_id, event) for event in self._engine.events(run_id, after, limit)]

    async def follow(self, run_id: str, after: int = 0) -> AsyncIterator[runs.Event]:
        """Give the events with ids above ``after`` and those to come; ends after the final one."""
        bound = self._bound_of(run_id)
        if bound is None:
            return
        async for event in self._engine.follow(run_id, after):
            yield event_of(bound, run_id, event)

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run as Terminated; False if it had ended or is unknown."""
        return await self._engine.terminate(run_id, reason)

    async def purge(self, run_id: str) -> bool:
        """Delete an ended run with its payloads; False if it is unknown or has not ended."""
        return await self._engine.purge(run_id)

    async def healthy(self) -> bool:
        """Say whether the host can take work."""
        return not self.stopping

    def _run(self, view: records.InstanceView, *, outputs: bool = True) -> runs.Run:
        workflow, bound = self._by_orchestration.get(view.name, (view.name.removeprefix("dafx-"), None))
        output: list[Any] | None = None
        if outputs and bound is not None and view.output is not None:
            output = bound.plain_outputs(view.id, view.output)
        custom = None if view.custom_status is None else msgspec.json.decode(view.custom_status)
        if bound is not None and (waiting := bound.waiting(view.id)) is not None:
            custom = {"waitingFor": waiting}
        return runs.Run(
            id=view.id,
            workflow=workflow,
            status=view.status,
            created=view.created,
            updated=view.updated,
            output=output,
            failure=view.failure,
            custom_status=custom,
            input_digest=view.input_digest,
        )

    def _bound_of(self, run_id: str) -> hosted.Bound | None:
        view = self._engine.view(run_id)
        return None if view is None else self._by_orchestration.get(view.name, ("", None))[1]


def event_of(bound: hosted.Bound, run_id: str, event: records.Event) -> runs.Event:
    """Give an event as clients see it."""
    type, data = bound.event(run_id, event.data)
    return runs.Event(event.id, type, event.time, data)
