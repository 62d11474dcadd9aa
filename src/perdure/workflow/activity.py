"""One executor handles one delivery: load, run, route, encode."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from agent_framework import Executor, Workflow, WorkflowEvent, WorkflowMessage

from perdure import errors, tracebacks, tracing
from perdure.payloads import refs
from perdure.workflow import (
    addresses,
    answers,
    deadlines,
    deltas,
    events,
    executor_state,
    graph,
    naming,
    orchestrator,
    pages,
    policy,
    protocol,
    recorder,
    run_state,
    runtime_tools,
    shape,
    shared_state,
    snapshot,
    turns,
    values,
)

INLINE_BUDGET_BYTES: Final = 2048
"""What the inline values of one activity may take together."""

logger = logging.getLogger("perdure")


class ExecutorLeft(errors.PerdureError):
    """An executor ended itself instead of returning or raising an error."""


class Level:
    """One workflow of those that are hosted together: the one on top, or one inside.

    Args:
        workflow: The workflow.
        graph_shape: Its graph as it is today.
    """

    def __init__(self, workflow: Workflow, graph_shape: shape.Shape) -> None:
        self.workflow = workflow
        self.shape = graph_shape
        self.router = graph.Router(workflow)
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
            addresses.INSTANCE_ID: instance_id,
            addresses.WORKFLOW_NAME: self._shape.workflow,
        }
        say = partial(self._say, instance_id, call.superstep) if call.stream else None
        ctx = recorder.Recorder(level.classify, f"{instance_id}/{key}", metadata, tools, say)
        blobs: list[refs.Blob] = []
        turn = await self._turn(call, place, state, run)
        listening = self._listen(live.executor, instance_id, key)
        with tracing.attached(call.trace), _contained(executor_id), listening:
            entered = await _execute(live, call, run, state, ctx, turn, blobs)
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
        step = _Encoder(level.shape, self._answer_types, call, run, blobs)
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
            answer = await deadline.give(policy.Expired(run, request.id, request.executor, asked))
            if answer is not None or deadline.gives_answer:
                value = self._answer_types.take(request, asked, answer)
                where = f"the answer that the deadline of request {request.id!r} gives"
                messages = (run_state.Sent(seen.encode(value, blobs, where=where)),)
        result = run_state.StepResult(messages)
        return protocol.Outcome(result, orchestrator.encode_result(result), blobs, run)

    def _strand(self, run: str, what: str, whose: str) -> str:
        said = (
            f"Run {run!r} needs {what}, which {whose} no longer has. "
            "It waits; start the host with code that has it, or terminate the run."
        )
        self._wait_for_code(run, said)
        return said

    def _wait_for_code(self, run: str, said: str) -> None:
        self.stranded[run] = said
        logger.warning(said)


async def _execute(
    live: executor_state.Live,
    call: orchestrator.Call,
    run: values.RunValues,
    state: shared_state.SharedState,
    ctx: recorder.Recorder,
    turn: turns.Turn | None,
    blobs: list[refs.Blob],
) -> run_state.RunState | None:
    """Let the executor handle what it was given; gives the workflow inside where it is to have its turn first."""
    delivery = call.delivery
    data: Any = None
    if not delivery.withdrawn:
        found = [run.decode(ref) for ref in delivery.messages]
        data = found if delivery.joined else found[0]
    with graph.hosted(live.executor, ctx, naming.hops(call.path)):
        if turn is None:
            await _handle(live.executor, delivery, data, run, state, ctx)
            return None
        try:
            with turn.inside(live.executor):
                await _handle(live.executor, delivery, data, run, state, ctx)
        except turns.Entered:
            ref = None if delivery.joined or delivery.withdrawn else delivery.messages[0]
            return await turn.entered(data, ref, blobs)
    return None


async def _handle(
    executor: Executor,
    delivery: run_state.Delivery,
    data: Any,
    run: values.RunValues,
    state: shared_state.SharedState,
    ctx: recorder.Recorder,
) -> None:
    if delivery.withdrawn:
        assert delivery.request is not None
        await graph.withdraw(executor, delivery.request.id, state, ctx)
        return
    source = delivery.sources[0]
    if delivery.request is None:
        message = graph.message(data, source, delivery.traces)
    else:
        asked = run.decode(delivery.request.data)
        message = graph.answer(data, source, delivery.request.id, delivery.executor, asked, type(data))
        if not executor.can_handle(message):
            ctx.warn(
                f"Executor {delivery.executor!r} has no response handler for a {type(asked).__name__} answered with "
                f"a {type(data).__name__}; the answer was dropped."
            )
            return
    await executor.execute(
        message,
        list(delivery.sources),
        state,
        ctx,  # type: ignore[arg-type]  # a hosted executor needs only part of the runner's protocol
        trace_contexts=message.trace_contexts,
        source_span_ids=message.source_span_ids,
    )


class _Encoder:
    """Turns what an executor did into references."""

    def __init__(
        self,
        graph_shape: shape.Shape,
        answer_types: answers.AnswerTypes,
        call: orchestrator.Call,
        run: values.RunValues,
        blobs: list[refs.Blob],
    ) -> None:
        self._shape = graph_shape
        self._answer_types = answer_types
        self._call = call
        self._run = run
        self._blobs = blobs
        self._inline = 0
        self._events: list[bytes] = []

    async def result(
        self,
        router: graph.Router,
        state: shared_state.SharedState,
        ctx: recorder.Recorder,
        saved: refs.Ref | None,
        known: refs.Ref | None,
        behind: list[str],
        turn: turns.Turn | None,
    ) -> run_state.StepResult:
        executor_id = self._call.delivery.executor
        messages = tuple(self._sent(index, item) for index, item in enumerate(ctx.sent))
        outputs, intermediates = self._outputs(ctx.events)
        requests = tuple(self._request(event) for event in ctx.requests)
        if behind:
            self._warn(
                f"Executor {executor_id!r} changed {', '.join(behind)}, which cannot be encoded: "
                "it stays with this process. Override on_checkpoint_save and on_checkpoint_restore to carry it.",
                "executor_state",
            )
        changed = state.changes(self._blobs)
        if saved is not None and not shared_state.same(saved, known):
            changed[run_state.executor_key(executor_id)] = saved
        if turn is not None and (child := turn.kept(self._blobs)) is not None:
            changed[run_state.child_key(executor_id)] = child
        failure: protocol.Failure | None = None
        routes: tuple[run_state.Route, ...] = ()
        try:
            routes = await self._routes(router, ctx.sent)
        except Exception as error:
            # A condition that raises is no failure of the executor, whose work stands and is not done again.
            failure = tracebacks.failure(error)
        folded = snapshot.fold(self._call.state, self._run.read, self._blobs) if self._call.fold else None
        definition = self._definition()
        return run_state.StepResult(
            messages if any(route.message >= 0 for route in routes) else (),
            routes,
            snapshot.layer_of(changed, self._blobs) if changed else None,
            outputs,
            requests,
            tuple(self._events),
            folded,
            definition,
            failure,
            bool(ctx.sent) and not routes,
            intermediates,
            withdrawn=tuple(ctx.withdrawn),
        )

    def _encode(self, value: Any, where: str) -> refs.Ref:
        limit = refs.INLINE_LIMIT_BYTES if self._inline < INLINE_BUDGET_BYTES else 0
        ref = self._run.encode(value, self._blobs, where=where, inline_limit=limit)
        if ref.inline is not None:
            self._inline += len(ref.inline)
        return ref

    def _sent(self, index: int, message: WorkflowMessage) -> run_state.Sent:
        ref = self._encode(message.data, f"message {index} of executor {self._call.delivery.executor!r}")
        contexts, spans = message.trace_contexts, message.source_span_ids
        return run_state.Sent(ref, tuple(zip(contexts, spans, strict=False)) if contexts and spans else ())

    def _outputs(self, happened: list[WorkflowEvent[Any]]) -> tuple[refs.Ref | None, refs.Ref | None]:
        """Write the events down; gives the pages of outputs and, in a sub-workflow, of intermediate ones."""
        yielded: dict[str, list[refs.Ref]] = {"output": [], "intermediate": []}
        inside = bool(self._call.path)
        for event in happened:
            if event.type == "request_info":
                continue
            value = None
            if event.data is not None or event.type in ("output", "intermediate"):
                value = self._value(event)
                if event.type in yielded and value is not None:
                    yielded[event.type].append(value)
                    if inside:
                        continue  # The executor that wraps the workflow says what becomes of it.
            fields = graph.event_fields(event)
            executor_id = fields.pop("executor", self._call.delivery.executor)
            self._events.append(events.of(event.type, self._call.superstep, executor_id, value, fields or None))
        outputs = pages.store(yielded["output"], self._blobs)
        return outputs, pages.store(yielded["intermediate"], self._blobs) if inside else None

    def _value(self, event: WorkflowEvent[Any]) -> refs.Ref | None:
        where = f"an event {event.type!r} of executor {self._call.delivery.executor!r}"
        if event.type in ("output", "intermediate"):
            return self._encode(event.data, f"an output of executor {self._call.delivery.executor!r}")
        data = str(event.data) if isinstance(event.data, BaseException) else event.data
        try:
            return self._encode(data, where)
        except errors.CodecError:
            # An event informs; what it shows may be shown as text where it cannot be encoded.
            return self._encode(repr(data), where)

    def _request(self, event: WorkflowEvent[Any]) -> run_state.Request:
        executor_id = self._call.delivery.executor
        ref = self._encode(event.data, f"a request of executor {executor_id!r}")
        request = run_state.Request(
            event.request_id,
            executor_id,
            ref,
            type(event.data).__name__,
            answers.type_name(event.response_type),
            superstep=self._call.superstep,
        )
        if self._call.path:
            return msgspec.structs.replace(request, answer=self._type(event))
        if not self._answer_types.declares(executor_id, event.response_type):
            request = msgspec.structs.replace(request, answer=self._type(event))
        fields = {"requestId": request.id, "responseType": request.response_type}
        self._events.append(events.of("request_info", self._call.superstep, executor_id, ref, fields))
        return request

    def _type(self, event: WorkflowEvent[Any]) -> refs.Ref | None:
        where = "the type of an answer"
        try:
            return self._run.encode(event.response_type, self._blobs, where=where, inline_limit=INLINE_BUDGET_BYTES)
        except errors.CodecError:
            # The answer is held to it by its name where it comes in.
            return None

    async def _routes(self, router: graph.Router, sent: list[WorkflowMessage]) -> tuple[run_state.Route, ...]:
        if not sent:
            return ()
        executor_id = self._call.delivery.executor
        routes: list[run_state.Route] = []
        for group in self._shape.by_source.get(executor_id, ()):
            for index, message in enumerate(sent):
                routed = await router.route(group, message)
                for target in routed.refused:
                    self._warn(
                        f"Executor {target!r} cannot handle a message of type {type(message.data).__name__} "
                        f"from {executor_id!r}; it was dropped.",
                        "message_dropped",
                    )
                if routed.targets or routed.buffered:
                    routes.append(run_state.Route(group, index, tuple(routed.targets)))
        return tuple(routes)

    def _warn(self, said: str, code: str) -> None:
        fields = {"data": said, "code": code}
        self._events.append(events.of("warning", self._call.superstep, self._call.delivery.executor, fields=fields))

    def _definition(self) -> bytes:
        today = self._shape.definition
        if today == self._call.definition:
            return b""
        fields = {"from": self._call.definition.hex(), "to": today.hex()}
        self._events.append(events.of("definition_changed", self._call.superstep, fields=fields))
        return today


@contextlib.contextmanager
def _contained(executor_id: str) -> Iterator[None]:
    """Make an ordinary failure of what would take the host, or the run without a word, with it."""
    try:
        yield
    except Exception:
        raise
    except SystemExit as error:
        raise ExecutorLeft(f"Executor {executor_id!r} called sys.exit({error.code!r}).") from error
    except BaseException as error:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        if task is None or task.cancelling():
            # The host ends this step, by cancelling it or, where the loop is gone, by closing it.
            raise
        if isinstance(error, asyncio.CancelledError):
            raise ExecutorLeft(f"Executor {executor_id!r} was cancelled by something that it awaited.") from error
        said = f"Executor {executor_id!r} raised {type(error).__name__}, which is no ordinary exception: {error}"
        raise ExecutorLeft(said) from error
