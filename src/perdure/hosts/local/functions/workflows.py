"""The app's workflows as hand-written code and the management API see them: as orchestrations ``dafx-{workflow}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from perdure import errors
from perdure.engine import records
from perdure.hosts.local import runs as engine_runs
from perdure.hosts.local.functions import steps
from perdure.routes import messages, runs
from perdure.workflow import hosted, options, protocol

ACTIVITY = "@workflow"
"""A workflow as a sub-orchestration of a hand-written one: a run that is started once and waited for."""

WAIT_SECONDS = 3600.0


class Workflows:
    """The workflows of an app; touched on the engine's loop only.

    Args:
        bounds: The workflows by the name they are hosted under.
    """

    def __init__(self, bounds: Mapping[str, hosted.Bound]) -> None:
        self._bounds = {bound.orchestrator.name: bound for bound in bounds.values()}
        self.runs: engine_runs.EngineRuns

    @property
    def names(self) -> list[str]:
        """The durable names."""
        return list(self._bounds)

    def __contains__(self, name: object) -> bool:
        """Whether this is the durable name of a workflow."""
        return name in self._bounds

    def shown(self, view: records.InstanceView) -> runs.Run:
        """Give a run as clients see it."""
        return self.runs.shown(view)

    async def __call__(self, instance_id: str, key: str, call: Any) -> protocol.Outcome:
        """Run a workflow to its end, as an activity of the orchestration that called it.

        Raises:
            WorkflowFailed: If the run failed or was terminated.
            InvalidInput: If the workflow takes no such input.
        """
        step: steps.Step = call
        workflow = self._bounds[step.name].hosted
        ref, blobs = workflow.accept(_json(step.input), messages.JSON)
        # What an attempt before a crash has started has the same id and input: it is found, not started again.
        run, new = await self.runs.start(workflow.name, step.child_id, ref, blobs)
        if not new and (run.workflow != workflow.name or run.input_digest != options.digest(ref, options.NONE)):
            raise WorkflowFailed(f"The run {step.child_id!r} exists with another input; call it under another id.")
        while run.status not in runs.ENDED:
            waited = await self.runs.wait(step.child_id, WAIT_SECONDS)
            if waited is None:
                raise WorkflowFailed(f"The run {step.child_id!r} of {step.name!r} was deleted.")
            run = waited
        if run.failure is not None:
            raise WorkflowFailed(f"{step.name!r} {run.status.lower()}: {run.failure.type}: {run.failure.message}")
        text = msgspec.json.encode(run.output)
        return protocol.Outcome(text.decode(), text)

    async def start(self, name: str, run_id: str, value: Any) -> tuple[runs.Run, bool]:
        """Start a run unless the id exists; gives the run and whether it is new.

        Args:
            name: The workflow's durable name.
            run_id: The run's id.
            value: The input as plain JSON, or the SDK's JSON text of it.

        Raises:
            EmptyInput: If it is None.
            InvalidInput: If the workflow takes no such input.
        """
        bound = self._bounds[name]
        ref, blobs = bound.hosted.accept(_json(value), messages.JSON)
        return await self.runs.start(bound.hosted.name, run_id, ref, blobs)

    async def raise_event(self, run_id: str, name: str, value: Any) -> bool:
        """Answer the request whose id is the event's name; False if it has been answered or the run has ended.

        Raises:
            InvalidInput: If the answer does not fit.
            LookupError: If the run has no such request.
        """
        became = await self.runs.answer(run_id, name, _json(value), messages.JSON)
        if became == "unknown":
            raise LookupError(
                f"The run {run_id!r} has no request {name!r}: an event of a workflow is the answer to a request, "
                "and its name is the request's id."
            )
        return became == "accepted"

    async def terminate(self, run_id: str, reason: str) -> bool:
        """End a run; False if it had ended."""
        return await self.runs.terminate(run_id, reason)

    async def rewind(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed; False if it has not failed."""
        return await self.runs.rewind(run_id)


class WorkflowFailed(errors.PerdureError):
    """A workflow that was called has failed."""


def _json(value: Any) -> bytes:
    """Give plain JSON as text; the SDK sends what already is text, as a JSON string."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            pass
        else:
            return value.encode()
    return json.dumps(value).encode()
