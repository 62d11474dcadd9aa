"""The one orchestrator: turns a run's state into activities, and their results into the next state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import attempts, deadlines, events, policy, protocol, run_state, shape, snapshot


class RunInput(msgspec.Struct, frozen=True, array_like=True):
    """What a run is started with; the graph is part of it and is never read from the code of the day.

    Attributes:
        graph: The encoded shape.
        message: The input.
        trace: W3C trace context of the request that started the run.
        policies: The encoded policies; like the graph never read from the code of the day.
    """

    graph: bytes
    message: refs.Ref
    trace: dict[str, str] = {}
    policies: bytes = b""


class Call(msgspec.Struct, frozen=True, array_like=True):
    """The input of an activity.

    Attributes:
        superstep: Its superstep.
        delivery: What is delivered, and to whom.
        state: The shared state it sees.
        fold: Whether it is to write a new base of the snapshot.
        definition: The definition that the run was told last.
        trace: Trace context of the run's start.
    """

    superstep: int
    delivery: run_state.Delivery
    state: snapshot.Snapshot
    fold: bool
    definition: bytes
    trace: dict[str, str]


class RunOutput(msgspec.Struct, frozen=True, array_like=True):
    """What a completed run leaves: its final shared state, which holds its outputs.

    Attributes:
        state: The committed shared state.
        pages: How many pages of outputs it holds.
        superstep: The last superstep.
    """

    state: snapshot.Snapshot
    pages: int
    superstep: int


class RunStatus(msgspec.Struct, frozen=True, array_like=True):
    """What a run says of itself while it goes on: its custom status.

    Attributes:
        superstep: The superstep in which it last changed.
        requests: The open requests.
        idle: Whether it does nothing until one of them is answered.
    """

    superstep: int
    requests: tuple[run_state.Request, ...]
    idle: bool = False


ANSWER: Final = "answer"
"""Name of the event that carries an answer."""

REWIND: Final = "rewind"
"""Name of the event that comes first after a failed run was set going again."""

_encoder = msgspec.msgpack.Encoder()
_results: Final = msgspec.msgpack.Decoder(run_state.StepResult)
_states: Final = msgspec.msgpack.Decoder(run_state.RunState)
_inputs: Final = msgspec.msgpack.Decoder(RunInput)
_outputs: Final = msgspec.msgpack.Decoder(RunOutput)
_answers: Final = msgspec.msgpack.Decoder(run_state.Answer)
_statuses: Final = msgspec.msgpack.Decoder(RunStatus)

decode_output: Callable[[bytes], RunOutput] = _outputs.decode
decode_input: Callable[[bytes], RunInput] = _inputs.decode
decode_status: Callable[[bytes], RunStatus] = _statuses.decode
encode_answer: Callable[[run_state.Answer], bytes] = _encoder.encode
encode_result: Callable[[run_state.StepResult], bytes] = _encoder.encode


def encode_input(graph: shape.Shape, message: refs.Ref, trace: dict[str, str], policies: bytes = b"") -> bytes:
    """Encode what a run is started with."""
    return _encoder.encode(RunInput(graph.encoded, message, trace, policies))


class WorkflowOrchestrator:
    """Runs one hosted workflow as a durable orchestration.

    Args:
        name: Durable name of the orchestration.
        activity: Durable name of the activity of an executor, by its id.
        fail_on_conflict: Whether two siblings that write one key fail the run.
        release: Told the run's id when its orchestration leaves memory.
    """

    def __init__(
        self,
        name: str,
        activity: Callable[[str], str],
        *,
        fail_on_conflict: bool = False,
        release: Callable[[str], None] = lambda run: None,
    ) -> None:
        self.name = name
        self._activity = activity
        self._fail_on_conflict = fail_on_conflict
        self._release = release

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Run from the start."""
        started = _inputs.decode(call)
        graph = shape.decode(started.graph)
        host.emit(events.of("started"))
        state = run_state.initial(graph, started.message, graph.internal_source(graph.start))
        _announce(host, state)
        return (yield from self._supersteps(host, graph, state, started))

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Run from a state that was kept at a barrier, or just before a failure."""
        started = _inputs.decode(call)
        kept = _states.decode(state)
        deadlines.resume(host, kept, self._activity)
        return (yield from self._supersteps(host, shape.decode(started.graph), kept, started))

    def decode(self, data: bytes) -> run_state.StepResult:
        """Read a recorded result."""
        return _results.decode(data)

    def _supersteps(
        self, host: protocol.Host, graph: shape.Shape, state: run_state.RunState, started: RunInput
    ) -> protocol.Steps:
        try:
            while state.due or state.requests:
                if not state.due:
                    state = yield from self._wait(host, state)
                else:
                    if state.superstep > graph.max_iterations:
                        return _fail(host, state, _not_converged(graph))
                    state = yield from self._superstep(host, state, started)
                    if state.failure is not None:
                        return _fail(host, state, state.failure)
                crossed = run_state.barrier(graph, state)
                for name in crossed.conflicts:
                    host.emit(_conflict(state.superstep, name))
                if crossed.conflicts and self._fail_on_conflict:
                    return _fail(host, state, _conflict_failure(crossed.conflicts))
                if state.due:
                    host.emit(events.of("superstep_completed", state.superstep))
                state = crossed.state
                if crossed.sent and state.superstep > graph.max_iterations:
                    # As in process, where what was sent is routed only by the superstep that may not start.
                    return _fail(host, state, _not_converged(graph))
                if state.due and state.superstep <= graph.max_iterations:
                    _announce(host, state)
                    host.keep(_keeper(state))
            host.emit(events.of("completed"))
            return protocol.Ended(_encoder.encode(RunOutput(state.snapshot, state.outputs, state.superstep - 1)))
        finally:
            self._release(host.instance_id)

    def _wait(self, host: protocol.Host, state: run_state.RunState) -> protocol.Stepping[run_state.RunState]:
        """Wait for an answer: open requests keep a run alive, and it costs nothing meanwhile."""
        _show(host, state, idle=True)
        open_ids = [request.id for request in state.requests]
        host.emit(events.of("parked", fields={"reason": "waiting for answers", "requests": open_ids}))
        host.keep(_keeper(state))
        while not state.answers:
            state = self._hear(host, state, (yield))
        return state

    def _superstep(
        self, host: protocol.Host, state: run_state.RunState, started: RunInput
    ) -> protocol.Stepping[run_state.RunState]:
        out: dict[str, attempts.Step] = {}
        policies = policy.decode(started.policies)
        fold = snapshot.needs_folding(state.snapshot)
        for position in run_state.ready(state):
            self._schedule(host, state, position, started, out, fold=fold)
            fold = False
        while out:
            landed = yield
            settled = attempts.settle(host, out, landed)
            if settled is None:
                state = self._hear(host, state, landed)
                continue
            position, executor = settled.step.position, settled.step.executor
            if settled.failure is not None:
                host.emit(events.failed("executor_failed", state.superstep, executor, settled.failure))
                return msgspec.structs.replace(state, failure=settled.failure)
            if settled.result is None:
                continue
            result: run_state.StepResult = settled.result
            for event in result.events:
                host.emit(event)
            host.emit(events.of("executor_completed", state.superstep, executor))
            if result.failure is not None:
                # What it did is not taken in: a run that is rewound routes it again.
                return msgspec.structs.replace(state, failure=result.failure)
            state = run_state.land(state, position, deadlines.opened(host, policies, state, result))
            if result.requests:
                _show(host, state)
            if (following := _next_to(state, position)) is not None:
                self._schedule(host, state, following, started, out, fold=False)
        return state

    def _schedule(
        self,
        host: protocol.Host,
        state: run_state.RunState,
        position: int,
        started: RunInput,
        out: dict[str, attempts.Step],
        *,
        fold: bool,
    ) -> None:
        delivery = state.due[position]
        name = run_state.key(state.superstep, delivery)
        seen = run_state.view(state, position)
        out[name] = step = attempts.Step(
            name,
            self._activity(delivery.executor),
            Call(state.superstep, delivery, seen, fold, state.definition, started.trace),
            executor=delivery.executor,
            superstep=state.superstep,
            position=position,
            rule=policy.decode(started.policies).rule(delivery.executor),
        )
        attempts.start(host, step)

    def _hear(self, host: protocol.Host, state: run_state.RunState, landed: protocol.Landed) -> run_state.RunState:
        """Take in what came from outside, or from a clock; anything that concerns no open request changes nothing."""
        by: dict[str, str] = {}
        if landed.kind == "event":
            if landed.key == REWIND:
                host.emit(events.of("rewound", state.superstep))
            if landed.key != ANSWER:
                return state
            given: run_state.Answer | None = _answers.decode(landed.value)
        else:
            state, given = deadlines.passed(host, state, landed, self._activity)
            by = {"by": "deadline"}
        answered = state if given is None else run_state.answer(state, given)
        if answered is not state:
            request, message = answered.answers[-1]
            deadlines.closed(host, request)
            host.emit(
                events.of("response", state.superstep, request.executor, message, {"requestId": request.id, **by})
            )
            _show(host, answered)
        return answered


def _next_to(state: run_state.RunState, position: int) -> int | None:
    """The next delivery to the same executor, which waited for this one."""
    executor = state.due[position].executor
    for later in range(position + 1, len(state.due)):
        if state.due[later].executor == executor:
            return later
    return None


def _announce(host: protocol.Host, state: run_state.RunState) -> None:
    host.emit(events.of("superstep_started", state.superstep))
    for delivery in state.due:
        host.emit(events.of("executor_invoked", state.superstep, delivery.executor))


def _keeper(state: run_state.RunState) -> Callable[[], bytes]:
    return lambda: _encoder.encode(state)


def _show(host: protocol.Host, state: run_state.RunState, *, idle: bool = False) -> None:
    host.status(_encoder.encode(RunStatus(state.superstep, state.requests, idle)))


def _fail(host: protocol.Host, state: run_state.RunState, failure: protocol.Failure) -> protocol.Ended:
    host.emit(events.failed("failed", state.superstep, "", failure))
    return protocol.Ended(failure=failure, state=_encoder.encode(msgspec.structs.replace(state, failure=None)))


def _not_converged(graph: shape.Shape) -> protocol.Failure:
    return protocol.Failure(
        "WorkflowConvergenceException", f"Runner did not converge after {graph.max_iterations} iterations."
    )


def _conflict(superstep: int, name: str) -> bytes:
    said = f"Two executors wrote the shared state key {name!r} in one superstep; the later in canonical order won."
    return events.of("warning", superstep, fields={"data": said, "code": "state_conflict", "key": name})


def _conflict_failure(names: tuple[str, ...]) -> protocol.Failure:
    return protocol.Failure(
        "StateConflict",
        f"Two executors wrote the shared state keys {', '.join(names)} in one superstep. "
        'Let one executor write each key, or host the workflow with on_state_conflict="warn".',
    )
