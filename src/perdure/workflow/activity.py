"""One executor handles one delivery: load, run, route, encode."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from agent_framework import Executor, Workflow, WorkflowEvent

from perdure import tracing
from perdure.payloads import owners, refs
from perdure.workflow import (
    addresses,
    answers,
    deadlines,
    deltas,
    executing,
    executor_state,
    graph,
    naming,
    orchestrator,
    policy,
    protocol,
    recorder,
    recording,
    routing,
    run_state,
    runtime_tools,
    shape,
    shared_state,
    turns,
    values,
)

logger = logging.getLogger("perdure")


class Level:
    """One workflow of those that are hosted together: the one on top, or one inside.

    Args:
        workflow: The workflow.
        graph_shape: Its graph as it is today.
    """

    def __init__(self, workflow: Workflow, graph_shape: shape.Shape) -> None:
        self.workflow = workflow
        self.shape = graph_shape
        self.router = routing.Router(workflow)
        self.classify: Callable[[str], Any] = graph.designation(workflow).classify


Listen = Callable[[Executor, str, str], contextlib.AbstractContextManager[None]]
"""Entered around each step: with the executor's copy, the run's id and the step's key."""


def _nobody(executor: Executor, run: str, step: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class Delta(msgspec.Struct, frozen=True):
    """A part of an agent's answer, at the moment at which it comes.

    Attributes:
        type: What the whole will be: ``output`` or ``intermediate``.
        superstep: Its superstep.
        executor: Who says it.
        data: The part, as the framework gives it.
    """

    type: str
    superstep: int
    executor: str
    data: Any


class Activities:
    """The activities of one hosted workflow, and the executors' copies that live runs have.

    Args:
        levels: The workflow on top, and those inside by the place of the executor that wraps each.
        kinds: How each executor is copied, by its place.
        shelf: Codec and store.
        policies: Retries and deadlines.
        answer_types: What requests ask for.
        listen: Entered with a run's copy of an executor, the run and the step, around each step.
        tools: The tools that runs may be given.
    """

    def __init__(
        self,
        levels: Mapping[str, Level],
        kinds: Mapping[str, executor_state.Kind],
        shelf: values.Shelf,
        policies: policy.Options | None = None,
        answer_types: answers.AnswerTypes | None = None,
        listen: Listen | None = None,
        tools: runtime_tools.RuntimeTools | None = None,
    ) -> None:
        self._listen = listen if listen is not None else _nobody
        self._tools = tools if tools is not None else runtime_tools.RuntimeTools()
        self._policies = policies if policies is not None else policy.Options()
        self._answer_types = answer_types if answer_types is not None else answers.AnswerTypes({})
        self._levels = levels
        self._shape = levels[""].shape
        self._kinds = kinds
        self._shelf = shelf
        self._live: dict[str, dict[str, executor_state.Live]] = {}
        self.stranded: dict[str, str] = {}
        self.host_metadata: dict[str, Any] = {}
        self.deltas: deltas.Deltas[Delta] = deltas.Deltas()

    def release(self, run: str) -> None:
        """Drop the copies of a run that has ended or left memory."""
        for place, live in self._live.pop(run, {}).items():
            self._kinds[place].give_back(live)
        self.stranded.pop(run, None)

    async def __call__(
        self, instance_id: str, key: str, call: orchestrator.Call | deadlines.Expiry
    ) -> protocol.Outcome:
        """Run one step, or answer a request whose deadline has passed.

        Raises:
            Exception: Whatever the executor raises, or why its values cannot be encoded.
        """
        if isinstance(call, deadlines.Expiry):
            return await self._expire(instance_id, call.request)
        place = naming.place(call.path, call.delivery.executor)
        kind = self._kinds.get(place)
        if kind is None:
            what = f"executor {naming.shown(place)!r}"
            raise protocol.Stranded(self._strand(instance_id, what, f"the workflow {self._shape.workflow!r}"))
        try:
            return await self._step(instance_id, key, call, kind, place)
        except protocol.Stranded as error:
            self._wait_for_code(instance_id, str(error))
            raise
        except Exception as error:
            policy.notice(self._retry(place), error)
            raise

    def _retry(self, place: str) -> policy.Retry | None:
        chain = naming.chain(place)
        return self._policies.retry(self._shape.workflow, [self._kinds[name].template.executor for name in chain])

    async def _step(
        self, instance_id: str, key: str, call: orchestrator.Call, kind: executor_state.Kind, place: str
    ) -> protocol.Outcome:
        executor_id = call.delivery.executor
        level = self._levels[call.path]
        run = values.RunValues(self._shelf, instance_id)
        tools = self._runtime_tools(run, call.tools)
        state = shared_state.SharedState(call.state, run)
        copies = self._live.setdefault(instance_id, {})
        known = state.reserved(run_state.executor_key(executor_id))
        live = copies.pop(place, None)
        if live is None or not (live.ref is known or (known is not None and shared_state.same(known, live.ref))):
            if live is not None:
                kind.drop(live)
            live = await kind.make(instance_id, known, run)
        metadata = {
            **self.host_metadata,
            addresses.INSTANCE_ID: owners.run_of(instance_id),
            addresses.WORKFLOW_NAME: self._shape.workflow,
        }
        say = partial(self._say, instance_id, call.superstep) if call.stream else None
        ctx = recorder.Recorder(level.classify, f"{instance_id}/{key}", metadata, tools, say)
        blobs: list[refs.Blob] = []
        turn = await self._turn(call, place, state, run)
        listening = self._listen(live.executor, owners.run_of(instance_id), key)
        with tracing.attached(call.trace), executing.contained(executor_id), listening:
            entered = await executing.execute(live, call, run, state, ctx, turn, blobs)
        ctx.close()
        if entered is not None:
            if kind.unchanged(live, run):
                copies[place] = live
            run.remember(blobs)
            result = run_state.StepResult(entered=entered)
            return protocol.Outcome(result, orchestrator.encode_result(result), blobs, instance_id)
        behind = await kind.save(live, run, blobs)
        # Only a copy whose state is known may serve the next delivery: one that raised is not put back.
        copies[place] = live
        step = recording.Recording(level.shape, self._answer_types, call, run, blobs)
        with tracing.attached(call.trace):
            result = await step.result(level.router, state, ctx, live.ref, known, behind, turn)
        run.remember(blobs)
        return protocol.Outcome(result, orchestrator.encode_result(result), blobs, instance_id)

    async def _turn(
        self, call: orchestrator.Call, place: str, state: shared_state.SharedState, run: values.RunValues
    ) -> turns.Turn | None:
        """Give the part of an executor that wraps a workflow in that one's turn; None for any other."""
        inside = self._levels.get(place)
        if inside is None:
            return None
        kept = state.reserved(run_state.child_key(call.delivery.executor))
        before = None if kept is None else run_state.decode(run.read(kept.digest, kept.owner))
        turn = turns.Turn(inside.workflow, inside.shape, before, call.turned, run)
        await turn.prepare()
        return turn

    def _say(self, run: str, superstep: int, event: WorkflowEvent[Any]) -> None:
        self.deltas.say(run, lambda: Delta(event.type, superstep, event.executor_id or "", event.data))

    def _runtime_tools(self, run: values.RunValues, ref: refs.Ref | None) -> list[Any] | None:
        if ref is None:
            return None
        named = run.decode(ref)
        if missing := self._tools.missing(named):
            raise protocol.Stranded(self._strand(run.owner, f"the runtime tool {missing[0]!r}", "the app"))
        return self._tools.find(named)

    async def _expire(self, run: str, request: run_state.Request) -> protocol.Outcome:
        """Give the answer to a request that nobody answered in time; none where that is left to whoever was told."""
        seen = values.RunValues(self._shelf, run)
        blobs: list[refs.Blob] = []
        messages: tuple[run_state.Sent, ...] = ()
        deadline = self._policies.deadline(request)
        if deadline is not None:
            asked = seen.decode(request.data)
            answer = await deadline.give(policy.Expired(owners.run_of(run), request.id, request.executor, asked))
            if answer is not None or deadline.gives_answer:
                value = self._answer_types.take(request, asked, answer)
                where = f"the answer that the deadline of request {request.id!r} gives"
                messages = (run_state.Sent(seen.encode(value, blobs, where=where)),)
        result = run_state.StepResult(messages)
        return protocol.Outcome(result, orchestrator.encode_result(result), blobs, run)

    def _strand(self, run: str, what: str, whose: str) -> str:
        said = (
            f"Run {owners.run_of(run)!r} needs {what}, which {whose} no longer has. "
            "It waits; start the host with code that has it, or terminate the run."
        )
        self._wait_for_code(run, said)
        return said

    def _wait_for_code(self, run: str, said: str) -> None:
        self.stranded[run] = said
        logger.warning(said)
