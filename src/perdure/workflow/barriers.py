"""The barrier at the end of a superstep: its state is committed, its messages are routed. Pure, over references."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from perdure.payloads import refs
from perdure.workflow import run_state, shape, snapshot

Results: TypeAlias = list[tuple[run_state.Delivery, run_state.StepResult]]


class Barrier(msgspec.Struct, frozen=True):
    """What the end of a superstep showed.

    Attributes:
        state: The run after it.
        conflicts: Keys that two executors of the superstep wrote; the later in canonical order wins.
        sent: Whether anything was sent, even if it reached nobody.
    """

    state: run_state.RunState
    conflicts: tuple[str, ...] = ()
    sent: bool = False


def cross(graph: shape.Shape, state: run_state.RunState) -> Barrier:
    """Commit the superstep's state and route its messages: the next superstep, with nothing due if the run is idle."""
    results = [(delivery, result) for delivery, result in zip(state.due, state.landed, strict=True) if result]
    seen, conflicts, pages, intermediates = _commit(state, results)
    due, buffers = _route(graph, state, results)
    definition = state.definition
    for _, result in results:
        definition = result.definition or definition
    advanced = run_state.RunState(
        # An idle run stands before its next superstep already: an answer begins it.
        state.superstep + 1 if state.due else state.superstep,
        due,
        (None,) * len(due),
        seen,
        buffers,
        pages,
        state.requests,
        (),
        definition,
        state.failure,
        state.expired,
        intermediates,
    )
    return Barrier(advanced, conflicts, any(result.messages or result.unheard for _, result in results))


def _commit(state: run_state.RunState, results: Results) -> tuple[snapshot.Snapshot, tuple[str, ...], int, int]:
    seen = state.snapshot
    pages, intermediates = state.outputs, state.intermediates
    for _, result in results:
        if result.folded is not None:
            seen = snapshot.adopt(seen, result.folded)
    writers: dict[str, str] = {}
    conflicts: dict[str, None] = {}
    for delivery, result in results:
        if result.writes is not None:
            if len(results) > 1:
                for name, _ in result.writes.changes:
                    if writers.setdefault(name, delivery.executor) != delivery.executor:
                        conflicts[name] = None
            seen = snapshot.put(seen, result.writes)
        if result.outputs is not None:
            seen = _put(seen, run_state.output_key(pages), result.outputs)
            pages += 1
        if result.intermediates is not None:
            seen = snapshot.put(
                seen, snapshot.Layer(((run_state.intermediate_key(intermediates), result.intermediates),))
            )
            intermediates += 1
    return seen, tuple(conflicts), pages, intermediates


def _put(seen: snapshot.Snapshot, key: str, page: refs.Ref) -> snapshot.Snapshot:
    return snapshot.put(seen, snapshot.Layer(((key, page),)))


def _route(
    graph: shape.Shape, state: run_state.RunState, results: Results
) -> tuple[tuple[run_state.Delivery, ...], tuple[run_state.Buffered, ...]]:
    senders: dict[str, list[run_state.StepResult]] = {}
    for delivery, result in results:
        if result.messages:
            senders.setdefault(delivery.executor, []).append(result)
    buffers = list(state.buffers)
    due: list[run_state.Delivery] = []
    ordinals: dict[str, int] = {}

    def deliver(
        target: str,
        sources: tuple[str, ...],
        messages: tuple[refs.Ref, ...],
        joined: bool = False,
        traces: run_state.Traces = (),
        request: run_state.Request | None = None,
    ) -> None:
        ordinal = ordinals.get(target, 0)
        ordinals[target] = ordinal + 1
        withdrawn = request is not None and not messages
        due.append(run_state.Delivery(target, ordinal, sources, messages, joined, traces, request, withdrawn))

    for request, message in state.answers:
        deliver(request.executor, (graph.internal_source(request.executor),), (message,), request=request)
    for request in state.withdrawn:
        deliver(request.executor, (graph.internal_source(request.executor),), (), request=request)

    for source, sent_by in senders.items():
        for group in graph.by_source.get(source, ()):
            waits = graph.groups[group].kind == "fan-in"
            for result in sent_by:
                for route in result.routes:
                    if route.group != group:
                        continue
                    sent = result.messages[route.message]
                    if not waits:
                        for target in route.targets:
                            deliver(target, (source,), (sent.ref,), False, sent.traces)
                        continue
                    buffers.append(run_state.Buffered(group, source, sent))
                    if joined := _join(graph.groups[group], [item for item in buffers if item.group == group]):
                        buffers = [item for item in buffers if item.group != group]
                        traces = tuple(trace for item in joined for trace in item.traces)
                        target = graph.groups[group].targets[0]
                        deliver(target, graph.groups[group].sources, tuple(item.ref for item in joined), True, traces)
    return tuple(due), tuple(buffers)


def _join(group: shape.Group, waiting: list[run_state.Buffered]) -> list[run_state.Sent]:
    """Give a fan-in's contributions in the order of its edges once every source has one; else nothing."""
    by_source: dict[str, list[run_state.Sent]] = {}
    for item in waiting:
        by_source.setdefault(item.source, []).append(item.sent)
    if len(by_source) < len(group.sources):
        return []
    return [sent for source in group.sources for sent in by_source[source]]
