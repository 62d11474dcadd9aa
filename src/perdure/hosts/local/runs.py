"""Runs on the embedded engine: what the routes stand on when the host is this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from opentelemetry import propagate

from perdure.agents import naming as sessions
from perdure.engine import engine, records
from perdure.hosts import shown
from perdure.payloads import refs
from perdure.routes import runs
from perdure.workflow import (
    activity,
    answers,
    deltas,
    events,
    hosted,
    naming,
    options,
    orchestrator,
    run_state,
)

EVENTS_PAGE = 1000


class EngineRuns:
    """The runs of an app's workflows.

    Args:
        durable: The engine they run on; started.
        bounds: The workflows by the name they are hosted under.
    """

    def __init__(self, durable: engine.Engine, bounds: Mapping[str, hosted.Bound]) -> None:
        self._engine = durable
        self._bounds = bounds
        self._workflows = shown.Workflows(bounds)
        self.stopping = False

    async def start(
        self,
        workflow: str,
        run_id: str,
        value: refs.Ref,
        blobs: Sequence[refs.Blob] = (),
        *,
        given: options.RunOptions = options.NONE,
        fresh: bool = False,
        wait: float = 0.0,
    ) -> tuple[runs.Run, bool]:
        """Start a run unless the id exists, and perhaps wait for its end."""
        bound = self._bounds[workflow]
        digest = options.digest(value, given)
        trace: dict[str, str] = {}
        propagate.inject(trace)
        view, new = await self._engine.begin(
            bound.orchestrator.name,
            run_id,
            bound.start(value, trace, given),
            input_digest=digest,
            definition=bound.hosted.shape.definition,
            blobs=blobs,
        )
        if wait > 0 and not view.ended and view.input_digest == digest:
            view = await self._engine.wait(run_id, wait) or view
        return self.shown(view), new

    async def get(self, run_id: str) -> runs.Run | None:
        """Give a run, or None for an unknown id."""
        view = self._engine.view(run_id)
        return None if view is None else self.shown(view)

    async def wait(self, run_id: str, seconds: float) -> runs.Run | None:
        """Give a run as soon as it has ended, or as it stands when the time is over."""
        view = await self._engine.wait(run_id, seconds)
        return None if view is None else self.shown(view)

    async def answer(self, run_id: str, request_id: str, body: bytes, content_type: str) -> runs.Accepted:
        """Answer an open request; durable when it returns."""
        view = self._engine.view(run_id)
        bound = self._bound(view)
        if view is None or bound is None:
            return "unknown"
        request = next((asked for asked in _open(view.custom_status) if asked.id == request_id), None)
        if request is None or view.ended:
            return self._was_answered(bound, run_id, request_id)
        values = bound.values_of(run_id)
        ref, blobs = bound.hosted.accept_answer(request, lambda: values.decode(request.data), body, content_type)
        # The answer's payload before the answer: whoever sees one finds the other.
        await self._engine.payloads.put(run_id, blobs)
        sent = await self._engine.raise_event(
            run_id,
            orchestrator.ANSWER,
            orchestrator.encode_answer(run_state.Answer(request_id, ref)),
            guard=lambda status: any(asked.id == request_id for asked in _open(status)),
        )
        return "accepted" if sent else self._was_answered(bound, run_id, request_id)

    async def withdraw(self, run_id: str, request_id: str) -> runs.Accepted:
        """Withdraw an open request; durable when it returns."""
        view = self._engine.view(run_id)
        bound = self._bound(view)
        if view is None or bound is None:
            return "unknown"
        values = bound.values_of(run_id)
        ids: tuple[str, ...] = (
            () if view.ended else answers.withdrawn(_open(view.custom_status), request_id, values.decode)
        )
        sent = bool(ids) and await self._engine.raise_event(
            run_id,
            orchestrator.WITHDRAWAL,
            orchestrator.encode_withdrawal(ids),
            guard=lambda status: any(asked.id == request_id for asked in _open(status)),
        )
        return "accepted" if sent else self._was_answered(bound, run_id, request_id)

    async def query(self, query: runs.Query) -> runs.Page:
        """List runs; their outputs are not loaded."""
        names: Sequence[str] = self._workflows.orchestrations
        if query.workflow is not None:
            names = (naming.orchestration(query.workflow),)
        if not names:
            return runs.Page([])
        views, cursor = self._engine.query(
            names=names,
            statuses=query.statuses,
            created_from=query.created_from,
            created_to=query.created_to,
            prefix=query.prefix,
            cursor=query.cursor,
            limit=query.limit,
        )
        found = [self.shown(view, outputs=False) for view in views if not sessions.is_session(view.id)]
        return runs.Page(found, cursor)

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> Sequence[runs.Event]:
        """Give up to ``limit`` events with ids above ``after``."""
        bound = self._bound_of(run_id)
        if bound is None:
            return []
        return [event_of(bound, run_id, event) for event in self._engine.events(run_id, after, limit)]

    async def follow(self, run_id: str, after: int = 0, *, live: bool = False) -> AsyncIterator[runs.Event]:
        """Give the events with ids above ``after`` and those to come, perhaps with deltas; ends after the final one."""
        bound = self._bound_of(run_id)
        if bound is None:
            return
        recorded = self._engine.follow(run_id, after)
        if not live:
            async for event in recorded:
                yield event_of(bound, run_id, event)
            return
        with bound.activities.deltas.listen(run_id, lambda: self._engine.last_event(run_id)) as listener:
            async for said in deltas.among(recorded, listener, lambda event: event.id, after):
                if isinstance(said, activity.Delta):
                    yield runs.Event(0, runs.DELTA, time.time(), bound.delta(said))
                else:
                    yield event_of(bound, run_id, said)

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run as Terminated; False if it had ended or is unknown."""
        return await self._engine.terminate(run_id, reason, events.of("terminated", fields={"reason": reason}))

    async def rewind(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed; False if there is no such run or step."""
        return await self._engine.reopen(run_id, orchestrator.REWIND)

    async def purge(self, run_id: str) -> bool:
        """Delete an ended run with its payloads; False if it is unknown or has not ended."""
        return await self._engine.purge(run_id)

    async def trouble(self) -> str | None:
        """Say what keeps the host from taking work; None where nothing does."""
        return runs.STOPPING if self.stopping else None

    def shown(self, view: records.InstanceView, *, outputs: bool = True) -> runs.Run:
        """Give a run as clients see it, out of what the engine says of it."""
        bound = self._workflows.bound(view.name)
        output: list[Any] | None = None
        if outputs and bound is not None and view.output is not None:
            output = bound.plain_outputs(view.id, view.output)
        custom: dict[str, Any] | None = None
        requests: tuple[runs.Pending, ...] = ()
        if bound is not None and not view.ended and view.custom_status is not None:
            status = orchestrator.decode_status(view.custom_status)
            requests = shown.pending(bound, bound.values_of(view.id), status.requests)
            custom = shown.progress(status)
        if bound is not None and (waiting := bound.waiting(view.id)) is not None:
            custom = {"waitingFor": waiting}
        return runs.Run(
            id=view.id,
            workflow=self._workflows.name(view.name),
            status=view.status,
            created=view.created,
            updated=view.updated,
            output=output,
            failure=view.failure,
            custom_status=custom,
            requests=requests,
            input_digest=view.input_digest,
        )

    def _was_answered(self, bound: hosted.Bound, run_id: str, request_id: str) -> runs.Accepted:
        """Look through the events for a request that is not open: rare, and the events are the truth."""
        after = 0
        while page := self._engine.events(run_id, after, EVENTS_PAGE):
            if shown.has_asked(bound, (event.data for event in page), request_id):
                return "answered"
            after = page[-1].id
        return "unknown"

    def _bound_of(self, run_id: str) -> hosted.Bound | None:
        return self._bound(self._engine.view(run_id))

    def _bound(self, view: records.InstanceView | None) -> hosted.Bound | None:
        return None if view is None else self._workflows.bound(view.name)


def _open(custom_status: bytes | None) -> tuple[run_state.Request, ...]:
    return () if custom_status is None else orchestrator.decode_status(custom_status).requests


def event_of(bound: hosted.Bound, run_id: str, event: records.Event) -> runs.Event:
    """Give an event as clients see it."""
    type, data = bound.event(run_id, event.data)
    return runs.Event(event.id, type, event.time, data)
