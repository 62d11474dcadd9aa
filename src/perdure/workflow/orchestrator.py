"""The one orchestrator: turns a run's state into activities, and their results into the next state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import deadlines, events, levels, options, policy, protocol, run_state, shape, snapshot


class RunInput(msgspec.Struct, frozen=True, array_like=True):
    """What a run is started with; the graph is part of it and is never read from the code of the day.

    Attributes:
        graph: The encoded shape.
        message: The input.
        trace: W3C trace context of the request that started the run.
        policies: The encoded policies; like the graph never read from the code of the day.
        options: What it was given beside its input.
    """

    graph: bytes
    message: refs.Ref
    trace: dict[str, str] = {}
    policies: bytes = b""
    options: options.RunOptions = options.NONE


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

WITHDRAWAL: Final = "withdrawal"
"""Name of the event that withdraws requests."""

REWIND: Final = "rewind"
"""Name of the event that comes first after a failed run was set going again."""

Call = levels.Call

_encoder = msgspec.msgpack.Encoder()
_results: Final = msgspec.msgpack.Decoder(run_state.StepResult)
_inputs: Final = msgspec.msgpack.Decoder(RunInput)
_outputs: Final = msgspec.msgpack.Decoder(RunOutput)
_answers: Final = msgspec.msgpack.Decoder(run_state.Answer)
_withdrawals: Final = msgspec.msgpack.Decoder(tuple[str | run_state.Asked, ...])
_statuses: Final = msgspec.msgpack.Decoder(RunStatus)

decode_output: Callable[[bytes], RunOutput] = _outputs.decode
decode_input: Callable[[bytes], RunInput] = _inputs.decode
decode_status: Callable[[bytes], RunStatus] = _statuses.decode
encode_answer: Callable[[run_state.Answer], bytes] = _encoder.encode
encode_withdrawal: Callable[[tuple[str | run_state.Asked, ...]], bytes] = _encoder.encode
decode_answer: Callable[[bytes], run_state.Answer] = _answers.decode
encode_result: Callable[[run_state.StepResult], bytes] = _encoder.encode


def encode_input(
    graph: shape.Shape,
    message: refs.Ref,
    trace: dict[str, str],
    policies: bytes = b"",
    given: options.RunOptions = options.NONE,
) -> bytes:
    """Encode what a run is started with."""
    return _encoder.encode(RunInput(graph.encoded, message, trace, policies, given))


class WorkflowOrchestrator:
    """Runs one hosted workflow as a durable orchestration.

    Args:
        name: Durable name of the orchestration.
        activity: Durable name of the activity of an executor, by its id.
        fail_on_conflict: Whether two siblings that write one key fail the run.
        release: Told the run's id when its orchestration leaves memory.
        delta_bytes: What may have been changed since the snapshot's base was written.
    """

    def __init__(
        self,
        name: str,
        activity: Callable[[str], str],
        *,
        fail_on_conflict: bool = False,
        release: Callable[[str], None] = lambda run: None,
        delta_bytes: int = snapshot.FOLD_BYTES,
    ) -> None:
        self.name = name
        self._activity = activity
        self._fail_on_conflict = fail_on_conflict
        self._release = release
        self._delta_bytes = delta_bytes

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        """Run from the start."""
        started = _inputs.decode(call)
        graph = shape.decode(started.graph)
        host.emit(events.of("started"))
        source = graph.internal_source(graph.start)
        state = run_state.initial(graph, started.message, source, started.options.state)
        level = self._top(host, started, state)
        levels.announce(level)
        return (yield from self._supersteps(level))

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        """Run from a state that was kept at a barrier, or just before a failure."""
        level = self._top(host, _inputs.decode(call), run_state.decode(state))
        deadlines.resume(host, level.state, self._activity)
        return (yield from self._supersteps(level))

    def decode(self, data: bytes) -> run_state.StepResult:
        """Read a recorded result."""
        return _results.decode(data)

    def _top(self, host: protocol.Host, started: RunInput, state: run_state.RunState) -> levels.Level:
        policies = policy.decode(started.policies)
        graph = shape.decode(started.graph)
        run = levels.Run(
            host,
            self._activity,
            policies,
            started.trace,
            self._fail_on_conflict,
            _show,
            graph,
            state,
            started.options,
            self._delta_bytes,
        )
        return run.top

    def _supersteps(self, level: levels.Level) -> protocol.Steps:
        host, graph = level.host, level.graph

        def hear(landed: protocol.Landed) -> None:
            level.state = self._hear(host, level.state, landed)

        try:
            while level.state.due or level.state.requests:
                failure: protocol.Failure | None = None
                if not level.state.due:
                    yield from self._wait(level, hear)
                elif level.state.superstep > graph.max_iterations:
                    failure = levels.not_converged(graph)
                else:
                    failure = yield from levels.superstep(level, hear)
                failure = failure or levels.cross(level)
                if failure is not None:
                    return _fail(level, failure)
            host.emit(events.of("completed"))
            ended = level.state
            return protocol.Ended(_encoder.encode(RunOutput(ended.snapshot, ended.outputs, ended.superstep - 1)))
        finally:
            self._release(host.instance_id)

    def _wait(self, level: levels.Level, hear: levels.Hear) -> protocol.Stepping[None]:
        """Wait for an answer: open requests keep a run alive, and it costs nothing meanwhile."""
        _show(level.host, level.state, idle=True)
        open_ids = [request.id for request in level.state.requests]
        level.host.emit(events.of("parked", fields={"reason": "waiting for answers", "requests": open_ids}))
        level.run.keep()
        while not level.state.answers and not level.state.withdrawn:
            hear((yield))

    def _hear(self, host: protocol.Host, state: run_state.RunState, landed: protocol.Landed) -> run_state.RunState:
        """Take in what came from outside, or from a clock; anything that concerns no open request changes nothing."""
        by: dict[str, str] = {}
        if landed.kind == "event":
            if landed.key == REWIND:
                host.emit(events.of("rewound", state.superstep))
            if landed.key == WITHDRAWAL:
                return _withdraw(host, state, _withdrawals.decode(landed.value))
            if landed.key != ANSWER:
                return state
            given = decode_answer(landed.value)
        else:
            state, found = deadlines.passed(host, state, landed, self._activity)
            if found is None:
                return state
            if found.answer is None:
                return _withdraw(host, state, (found.request,))
            given, by = found.answer, {} if found.told else {"by": "deadline"}
        answered = run_state.answer(state, given)
        if answered is not state:
            request, message = answered.answers[-1]
            deadlines.closed(host, request)
            host.emit(
                events.of("response", state.superstep, request.executor, message, {"requestId": request.id, **by})
            )
            _show(host, answered)
        return answered


def _withdraw(
    host: protocol.Host, state: run_state.RunState, which: tuple[str | run_state.Asked, ...]
) -> run_state.RunState:
    left = run_state.withdraw(state, which)
    if left is state:
        return state
    for request in left.withdrawn[len(state.withdrawn) :]:
        deadlines.closed(host, request)
        fields = {"requestId": request.id}
        host.emit(events.of("request_withdrawn", state.superstep, request.executor, fields=fields))
    _show(host, left)
    return left


def _show(host: protocol.Host, state: run_state.RunState, *, idle: bool = False) -> None:
    host.status(_encoder.encode(RunStatus(state.superstep, state.requests, idle)))


def _fail(level: levels.Level, failure: protocol.Failure) -> protocol.Ended:
    level.host.emit(events.failed("failed", level.state.superstep, "", failure))
    return protocol.Ended(failure=failure, state=run_state.encode(level.frozen(again=True)))
