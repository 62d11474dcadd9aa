"""One pass over the function of a functional workflow: from its start to where it pauses or ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from agent_framework import (
    CheckpointStorage,
    FunctionalWorkflow,
    WorkflowCheckpoint,
    WorkflowEvent,
    WorkflowRunResult,
)

from perdure.workflow import functional_graph

_CACHE, _COUNTS, _MESSAGE = functional_graph.STATE_KEYS
_HEARD: Final = frozenset({"output", "request_info", "executor_bypassed"})
"""Events that are not taken as they come: outputs are those of the pass that ends, requests have a record of their own,
and that a step was not run again is what recording is for."""


class StepRecord(NamedTuple):
    """What is kept of a step that returned.

    Attributes:
        requests: How many requests without an id of their own it made.
        result: What it returned.
    """

    requests: int
    result: Any


class Past(NamedTuple):
    """What a pass begins with.

    Attributes:
        message: The run's input.
        steps: The steps that returned, by the framework's key.
        state: The user's state.
        answers: The answers that there are, by request.
    """

    message: Any
    steps: Mapping[str, StepRecord]
    state: Mapping[str, Any]
    answers: Mapping[str, Any]


class Pass:
    """A function on its way. A step that returns holds its caller until what it returned is recorded.

    To the framework it is a checkpoint storage: that is how a step tells that it has returned.

    Args:
        workflow: The workflow as it was built.
        past: What it begins with.
        metadata: What the function may learn of its host.
        streams: Whether it is to be told that its run streams.
    """

    def __init__(self, workflow: FunctionalWorkflow, past: Past, metadata: Mapping[str, Any], streams: bool) -> None:
        self._running = functional_graph.Another(workflow, metadata, streams)
        self._past = past
        self._held: list[asyncio.Future[None]] = []
        self._news = asyncio.Event()
        self._latest: WorkflowCheckpoint | None = None
        self._recorded = set(past.steps)
        self._returned = len(past.steps)
        self._heard = 0
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._news.set())

    async def _run(self) -> WorkflowRunResult:
        return await self._running.workflow.run(
            checkpoint_id="past",
            responses=dict(self._past.answers) or None,
            checkpoint_storage=cast("CheckpointStorage", self),
        )

    async def load(self, checkpoint_id: str) -> WorkflowCheckpoint:
        """Give the framework what the pass begins with."""
        past = self._past
        state = {
            **past.state,
            _CACHE: {key: step.result for key, step in past.steps.items()},
            _COUNTS: {key: step.requests for key, step in past.steps.items()},
            _MESSAGE: past.message,
        }
        workflow = self._running.workflow
        return WorkflowCheckpoint(
            workflow.name, workflow.graph_signature_hash, checkpoint_id=checkpoint_id, state=state
        )

    async def save(self, checkpoint: WorkflowCheckpoint) -> str:
        """Hear from the framework how things stand; if a step has returned, hold it until that is recorded."""
        self._latest = checkpoint
        returned = len(checkpoint.state[_CACHE])
        # The last one, when the function pauses or has ended, has nothing that is to be recorded by itself.
        if returned > self._returned:
            self._returned = returned
            held = asyncio.get_running_loop().create_future()
            self._held.append(held)
            self._news.set()
            await held
        return checkpoint.checkpoint_id

    def proceed(self) -> None:
        """Let the steps go on whose results are recorded now."""
        held, self._held = self._held, []
        for step in held:
            if not step.done():
                step.set_result(None)

    async def news(self) -> None:
        """Wait until a step has returned, or the pass is over."""
        if not self._held and not self._task.done():
            self._news.clear()
            await self._news.wait()

    @property
    def over(self) -> bool:
        """Whether the function has paused, returned or raised."""
        return self._task.done()

    def take_steps(self) -> dict[str, StepRecord]:
        """Give the steps that returned since this was asked last."""
        if self._latest is None:
            return {}
        counts = self._latest.state[_COUNTS]
        found = {
            key: StepRecord(counts.get(key, 0), result)
            for key, result in self._latest.state[_CACHE].items()
            if key not in self._recorded
        }
        self._recorded.update(found)
        return found

    def state(self) -> dict[str, Any]:
        """Give the user's state as it stood when a step returned last, or when the pass was over."""
        if self._latest is None:
            return dict(self._past.state)
        return {key: value for key, value in self._latest.state.items() if not key.startswith("_")}

    def take_events(self) -> list[WorkflowEvent[Any]]:
        """Give what was emitted since this was asked last, but for outputs and requests."""
        if self.over and not self.failed:
            found = list(self._task.result())[self._heard :]
        else:
            found = functional_graph.events_of(self._running, self._heard)
        self._heard += len(found)
        return [event for event in found if event.type not in _HEARD]

    def requests(self) -> dict[str, WorkflowEvent[Any]]:
        """Give the requests that were made so far and had no answer."""
        return {} if self._latest is None else dict(self._latest.pending_request_info_events)

    def outputs(self) -> list[WorkflowEvent[Any]]:
        """Give the outputs of a pass that is over."""
        return [event for event in self._task.result() if event.type == "output"]

    @property
    def failed(self) -> bool:
        """Whether the function raised."""
        return self.over and (self._task.cancelled() or self._task.exception() is not None)

    def check(self) -> None:
        """Raise what the function raised."""
        self._task.result()

    def close(self) -> None:
        """End it, whatever it is at: nobody hears of it any more."""
        self._task.cancel()
