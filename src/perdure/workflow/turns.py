"""The turn of a sub-workflow as the executor that wraps it takes part in it.

The framework's own code runs in that executor twice. The first time it gets as far as the supersteps of the
workflow inside: what it gave to it makes a run of its own, which the orchestrator then runs step by step. The
second time it finds those supersteps done, and maps what came of them to messages, outputs and requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from agent_framework import Executor, Workflow, WorkflowEvent

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import barriers, graph, pages, run_state, shape, shared_state, snapshot, values


class Entered(BaseException):
    """Ends a wrapper's first time: what it gave to the workflow inside is due there."""


class Turn:
    """A wrapper's part in a turn.

    Args:
        workflow: The workflow inside.
        graph_shape: Its graph.
        kept: What it was after its last turn; None before the first.
        turned: What it is after this one; None until it has had it.
        run: The values of the run.
    """

    def __init__(
        self,
        workflow: Workflow,
        graph_shape: shape.Shape,
        kept: run_state.RunState | None,
        turned: run_state.RunState | None,
        run: values.RunValues,
    ) -> None:
        self._shape = graph_shape
        self._kept = kept if kept is not None else run_state.blank(graph_shape)
        self._turned = turned
        self._run = run
        self._open: set[str] = set()
        self._state = shared_state.SharedState(self._kept.snapshot, run)
        self._runner = _Runner(self._state, self._events)
        self._workflow = graph.with_runner(workflow, self._runner)

    async def prepare(self) -> None:
        """Let the workflow inside know its open requests."""
        await self._runner.context.ask(self._asked(request) for request in self._kept.requests)

    @contextmanager
    def inside(self, wrapper: Executor) -> Iterator[None]:
        """Make the wrapper wrap this turn's workflow for as long as this lasts."""
        with graph.standing_in(wrapper, self._workflow):
            yield

    async def entered(self, given: Any, ref: refs.Ref | None, blobs: list[refs.Blob]) -> run_state.RunState:
        """Give the workflow inside with what it was given due, and without the requests that stay open meanwhile.

        Args:
            given: What the wrapper was given.
            ref: The reference to that, for where it is passed on as it is.
            blobs: Payloads are appended here.

        Raises:
            CodecError: If something cannot be encoded.
        """
        state = self._kept
        for message in self._runner.context.given:
            where = f"what is given to the sub-workflow {self._shape.workflow!r}"
            same = ref if message.data is given else None
            sent = same if same is not None else self._run.encode(message.data, blobs, where=where)
            if message.original_request_info_event is not None:
                answered = run_state.Answer(message.original_request_info_event.request_id, sent)
                state = run_state.answer(state, answered)
            else:
                state = run_state.given(self._shape, state, sent)
        state = run_state.withdraw(state, self._runner.context.withdrawn)
        changed = self._state.changes(blobs)
        if changed:
            seen = snapshot.put(state.snapshot, snapshot.layer_of(changed, blobs, self._run.inline.changes))
            state = msgspec.structs.replace(state, snapshot=seen)
        state = state if state.due else barriers.cross(self._shape, state).state
        return msgspec.structs.replace(state, requests=())

    def kept(self, blobs: list[refs.Blob]) -> refs.Ref | None:
        """Store the workflow inside as it is after its turn; None if it had none."""
        if self._turned is None:
            return None
        state = run_state.idle(self._turned)
        new = {request.id for request in state.requests}
        still = (request for request in self._kept.requests if request.id in self._open and request.id not in new)
        state = msgspec.structs.replace(state, requests=(*still, *state.requests))
        limit = self._run.inline.delta
        if snapshot.needs_folding(state.snapshot, limit):
            folded = snapshot.fold(state.snapshot, self._run.read, blobs, limit)
            state = msgspec.structs.replace(state, snapshot=snapshot.adopt(state.snapshot, folded))
        item = refs.blob(run_state.encode(state))
        blobs.append(item)
        return refs.stored(item)

    async def _events(self) -> AsyncIterator[WorkflowEvent[Any]]:
        """What happened in the supersteps of this turn, where they are done."""
        turned = self._turned
        if turned is None:
            raise Entered
        self._open = set(await self._runner.context.get_pending_request_info_events())
        asked = [self._asked(request) for request in turned.requests]
        await self._runner.context.ask(asked)
        read, decode = self._run.read, self._run.decode
        for ref in pages.read_all(turned.snapshot, run_state.output_key, turned.outputs, read):
            yield WorkflowEvent("output", data=decode(ref))
        for ref in pages.read_all(turned.snapshot, run_state.intermediate_key, turned.intermediates, read):
            yield WorkflowEvent("intermediate", data=decode(ref))
        for event in asked:
            yield event

    def _asked(self, request: run_state.Request) -> WorkflowEvent[Any]:
        kind = object if request.answer is None else self._run.decode(request.answer)
        return WorkflowEvent.request_info(request.id, request.executor, self._run.decode(request.data), kind)


class _Context(graph.RunnerContext):
    """The framework's own context of a workflow, of which is read what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.withdrawn: set[str] = set()
        self.given: list[Any] = []

    async def ask(self, events: Iterable[WorkflowEvent[Any]]) -> None:
        """Add open requests; nobody is told of them."""
        for event in events:
            await self.add_request_info_event(event)
        await self.drain_events()

    async def send_message(self, message: Any) -> None:
        """Write down what the workflow is given."""
        self.given.append(message)

    async def cancel_request_info_events(self, request_ids: set[str]) -> dict[str, WorkflowEvent[Any]]:
        """Write down what is withdrawn: to tell the executors is a step of each."""
        self.withdrawn |= request_ids
        await super().cancel_request_info_events(request_ids)
        return {}


class _Runner:
    """Stands where the framework's runner of the workflow inside would."""

    def __init__(
        self, state: shared_state.SharedState, events: Callable[[], AsyncIterator[WorkflowEvent[Any]]]
    ) -> None:
        self.state = state
        self.context = _Context()
        self._events = events
        self._ran = False
        self._previous_checkpoint_id = None

    def reset_iteration_count(self) -> None:
        """Supersteps are counted by the run."""

    async def create_checkpoint_if_enabled(self) -> None:
        """The host keeps the run."""

    async def run_until_convergence(self) -> AsyncIterator[WorkflowEvent[Any]]:
        """Give what happened in the supersteps.

        Raises:
            Entered: If they are still to come.
        """
        if self._ran:
            raise errors.UsageError(
                "An executor that wraps a workflow ran it twice for one message.",
                "Let it run the workflow once, and again when the next message comes.",
            )
        self._ran = True
        async for event in self._events():
            yield event
