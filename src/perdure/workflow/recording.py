"""What an executor did in one step, as references: messages and where they go, writes, outputs, requests, events."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from agent_framework import WorkflowEvent, WorkflowMessage

from perdure import errors, tracebacks
from perdure.payloads import refs
from perdure.workflow import (
    answers,
    events,
    graph,
    orchestrator,
    pages,
    protocol,
    recorder,
    routing,
    run_state,
    shape,
    shared_state,
    snapshot,
    turns,
    values,
)

INLINE_BUDGET_BYTES: Final = 2048
"""What the inline values of one activity may take together."""


class Recording:
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
        router: routing.Router,
        state: shared_state.SharedState,
        ctx: recorder.Recorder,
        saved: refs.Ref | None,
        known: refs.Ref | None,
        behind: list[str],
        turn: turns.Turn | None,
    ) -> run_state.StepResult:
        """Give all of it.

        Args:
            router: The workflow's edges.
            state: The shared state that the executor saw and changed.
            ctx: What it did.
            saved: Its own state after the step.
            known: Its own state before it.
            behind: Its attributes that newly stay with this process.
            turn: Its part in the turn of the workflow that it wraps, if it wraps one.

        Raises:
            CodecError: If a value cannot be encoded.
        """
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
        inline = self._run.inline
        folded: snapshot.Folded | None = None
        if self._call.fold:
            folded = snapshot.fold(self._call.state, self._run.read, self._blobs, inline.delta)
        definition = self._definition()
        return run_state.StepResult(
            messages if any(route.message >= 0 for route in routes) else (),
            routes,
            snapshot.layer_of(changed, self._blobs, inline.changes) if changed else None,
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

    def _encode(self, value: Any, where: str, inline_limit: int = refs.INLINE_LIMIT_BYTES) -> refs.Ref:
        limit = inline_limit if self._inline < INLINE_BUDGET_BYTES else 0
        ref = self._run.encode(value, self._blobs, where=where, inline_limit=limit)
        if ref.inline is not None:
            self._inline += len(ref.inline)
        return ref

    def _sent(self, index: int, message: WorkflowMessage) -> run_state.Sent:
        where = f"message {index} of executor {self._call.delivery.executor!r}"
        ref = self._encode(message.data, where, self._run.inline.message)
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

    async def _routes(self, router: routing.Router, sent: list[WorkflowMessage]) -> tuple[run_state.Route, ...]:
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
