"""The workflows of a run as they go through their supersteps: the run's own, and sub-workflows inside it.

A sub-workflow's turn is run by the orchestration of the run itself: its steps are activities of that one, under
keys that begin with the step whose executor wraps it. So it lands, is rebuilt, rewound and ended with the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import (
    attempts,
    barriers,
    conflicts,
    deadlines,
    events,
    inside,
    naming,
    options,
    policy,
    protocol,
    run_state,
    shape,
    snapshot,
)

EXIT: Final = "exit"
"""Begins the key of the step that takes in what a sub-workflow did in its turn."""

Hear = Callable[[protocol.Landed], None]
"""Takes in what concerns no step."""


class Call(msgspec.Struct, frozen=True, array_like=True):
    """The input of an activity.

    Attributes:
        superstep: Its superstep.
        delivery: What is delivered, and to whom.
        state: The shared state it sees.
        fold: Whether it is to write a new base of the snapshot.
        definition: The definition that the run was told last.
        trace: Trace context of the run's start.
        path: The executors that wrap the workflow it belongs to, from the top, joined; empty for the run's own.
        turned: The sub-workflow that the executor wraps, after its turn.
        stream: Whether agents run in streaming mode; never inside, as in process.
        tools: The tools that the run was given.
    """

    superstep: int
    delivery: run_state.Delivery
    state: snapshot.Snapshot
    fold: bool
    definition: bytes
    trace: dict[str, str]
    path: str = ""
    turned: run_state.RunState | None = None
    stream: bool = False
    tools: refs.Ref | None = None


class Run:
    """What all levels of a run have in common.

    Attributes:
        host: The run's host.
        activity: Gives the durable name of an executor's activity, by its place.
        policies: What the run was started with.
        trace: Trace context of its start.
        fail_on_conflict: Whether two siblings that write one key fail the run.
        show: Tells the world which requests are open.
        given: What it was given beside its input.
        delta_bytes: What may have been changed since the snapshot's base was written.
        top: The run's own level.
    """

    __slots__ = ("activity", "delta_bytes", "fail_on_conflict", "given", "host", "policies", "show", "top", "trace")

    def __init__(
        self,
        host: protocol.Host,
        activity: Callable[[str], str],
        policies: policy.Policies,
        trace: dict[str, str],
        fail_on_conflict: bool,
        show: Callable[[protocol.Host, run_state.RunState], None],
        graph: shape.Shape,
        state: run_state.RunState,
        given: options.RunOptions = options.NONE,
        delta_bytes: int = snapshot.FOLD_BYTES,
    ) -> None:
        self.given = given
        self.delta_bytes = delta_bytes
        self.host = host
        self.activity = activity
        self.policies = policies
        self.trace = trace
        self.fail_on_conflict = fail_on_conflict
        self.show = show
        self.top = Level(self, host, graph, "", state)

    def keep(self) -> None:
        """Offer the run to be kept, unless steps are out, whose attempts it would not hold."""
        if not self.top.busy():
            frozen = self.top.frozen()
            self.host.keep(lambda: run_state.encode(frozen))


class Level:
    """One workflow of a run.

    Attributes:
        run: The run.
        host: The host; inside, as the sub-workflow sees it.
        graph: The workflow's graph.
        path: What wraps it; empty on top.
        state: Where it stands.
        out: Steps that are out, or wait for their next attempt.
        turns: Deliveries to sub-workflows that are not done, by the key of their step.
    """

    __slots__ = ("graph", "host", "out", "path", "run", "state", "turns")

    def __init__(self, run: Run, host: protocol.Host, graph: shape.Shape, path: str, state: run_state.RunState) -> None:
        self.run = run
        self.host = host
        self.graph = graph
        self.path = path
        self.state = state
        self.out: dict[str, attempts.Step] = {}
        self.turns: dict[str, _Turn] = {}

    def frozen(self, *, again: bool = False) -> run_state.RunState:
        """Give the state, with what goes on inside.

        Args:
            again: Whether turns have all their time again when the run goes on from it.
        """
        if not self.turns:
            return self.state
        return msgspec.structs.replace(self.state, turns=tuple(turn.frozen(again) for turn in self.turns.values()))

    def busy(self) -> bool:
        """Say whether a step is out, here or inside."""
        return bool(self.out) or any(turn.level is not None and turn.level.busy() for turn in self.turns.values())


class _Turn:
    """A delivery to an executor that wraps a workflow: given to it, that one's supersteps, and what came of them."""

    __slots__ = ("fold", "graph", "level", "position", "steps", "until")

    def __init__(self, position: int, graph: shape.Shape, fold: bool, until: float) -> None:
        self.position = position
        self.graph = graph
        self.fold = fold
        self.until = until
        self.level: Level | None = None
        self.steps: protocol.Stepping[protocol.Failure | None] | None = None

    def frozen(self, again: bool) -> run_state.Turn:
        state = None if self.level is None else self.level.frozen(again=again)
        return run_state.Turn(self.position, state, 0.0 if again else self.until)


def announce(level: Level) -> None:
    """Say that a superstep begins, and with whom."""
    state = level.state
    level.host.emit(events.of("superstep_started", state.superstep))
    for delivery in state.due:
        level.host.emit(events.of("executor_invoked", state.superstep, delivery.executor))


def superstep(level: Level, hear: Hear) -> protocol.Stepping[protocol.Failure | None]:
    """Run the deliveries that are due; gives why the level fails, if it does."""
    state = level.state
    fold = snapshot.needs_folding(state.snapshot, level.run.delta_bytes)
    begun = {turn.position: turn for turn in state.turns}
    level.state = msgspec.structs.replace(state, turns=()) if begun else state
    for position in run_state.ready(state):
        failure = _begin(level, position, fold, begun.get(position))
        if failure is not None:
            return failure
        fold = False
    while level.out or level.turns:
        landed = yield
        if level.turns and (turn := _turn_of(level, landed)) is not None:
            failure = _inside(level, turn, landed)
        else:
            failure = _settle(level, landed, hear)
        if failure is not None:
            return failure
    return None


def cross(level: Level) -> protocol.Failure | None:
    """Take the barrier at the end of a superstep; gives why the level fails, if it does."""
    state, host, limit = level.state, level.host, level.graph.max_iterations
    crossed = barriers.cross(level.graph, state)
    for name in crossed.conflicts:
        host.emit(conflicts.event(state.superstep, name))
    if crossed.conflicts and level.run.fail_on_conflict:
        return conflicts.failure(crossed.conflicts)
    if state.due:
        host.emit(events.of("superstep_completed", state.superstep))
    level.state = state = crossed.state
    if crossed.sent and state.superstep > limit:
        # As in process, where what was sent is routed only by the superstep that may not start.
        return not_converged(level.graph)
    if state.due and state.superstep <= limit:
        announce(level)
        level.run.keep()
    return None


def not_converged(graph: shape.Shape) -> protocol.Failure:
    """Say that a workflow has used up its supersteps."""
    return protocol.Failure(
        "WorkflowConvergenceException", f"Runner did not converge after {graph.max_iterations} iterations."
    )


def _begin(level: Level, position: int, fold: bool, begun: run_state.Turn | None) -> protocol.Failure | None:
    delivery = level.state.due[position]
    graph = level.graph.inside.get(delivery.executor)
    place = naming.place(level.path, delivery.executor)
    rule = level.run.policies.rule(place)
    name = run_state.key(level.state.superstep, delivery)
    if graph is None:
        attempts.start(level.host, _step(level, position, name, place, rule, fold=fold))
        return None
    now = level.host.now
    until = begun.until if begun is not None else 0.0
    if not until and rule is not None and rule.timeout:
        until = now + rule.timeout
    level.turns[name] = turn = _Turn(position, graph, fold, until)
    if until:
        level.host.timer(f"{attempts.TIMEOUT}/{name}", until)
    if begun is None or begun.state is None:
        attempts.start(level.host, _step(level, position, name, place, None, fold=False))
        return None
    return _enter(level, turn, begun.state, announced=True)


def _step(
    level: Level,
    position: int,
    name: str,
    place: str,
    rule: policy.Rule | None,
    *,
    fold: bool,
    turned: run_state.RunState | None = None,
) -> attempts.Step:
    state = level.state
    delivery = state.due[position]
    seen = run_state.view(state, position)
    level.out[name] = step = attempts.Step(
        name,
        level.run.activity(place),
        Call(
            state.superstep,
            delivery,
            seen,
            fold,
            state.definition,
            level.run.trace,
            level.path,
            turned,
            level.run.given.stream and not level.path,
            level.run.given.tools,
        ),
        executor=delivery.executor,
        superstep=state.superstep,
        position=position,
        rule=rule,
    )
    return step


def _settle(level: Level, landed: protocol.Landed, hear: Hear) -> protocol.Failure | None:
    """Take in what landed at this level."""
    state = level.state
    if landed.kind == "timer" and (late := _late(level, landed.key)) is not None:
        return _failed(level, state.due[late.position].executor, _time_ran_out(level, late))
    settled = attempts.settle(level.host, level.out, landed)
    if settled is None:
        hear(landed)
        return None
    position, executor = settled.step.position, settled.step.executor
    if settled.failure is not None:
        return _failed(level, executor, settled.failure)
    if settled.result is None:
        return None
    result: run_state.StepResult = settled.result
    name = settled.step.key
    if result.entered is not None:
        turn = level.turns.get(name)
        if turn is None:
            return _failed(level, executor, _became_a_wrapper(executor))
        return _enter(level, turn, result.entered)
    for event in result.events:
        level.host.emit(event)
    level.host.emit(events.of("executor_completed", state.superstep, executor))
    if result.failure is not None:
        # What it did is not taken in: a run that is rewound routes it again. A sub-workflow has had its turn.
        return result.failure
    if level.turns:
        _close(level, name.removeprefix(f"{EXIT}/"))
    asked = bool(result.requests) and not level.path
    if asked:
        result = deadlines.opened(level.host, level.run.policies, state, result)
    deadlines.withdrawn(level.host, state, result)
    level.state = run_state.land(state, position, result)
    if asked or result.withdrawn:
        level.run.show(level.host, level.state)
    following = _next_to(level.state, position)
    return None if following is None else _begin(level, following, False, None)


def _failed(level: Level, executor: str, failure: protocol.Failure) -> protocol.Failure:
    level.host.emit(events.failed("executor_failed", level.state.superstep, executor, failure))
    return failure


def _next_to(state: run_state.RunState, position: int) -> int | None:
    """The next delivery to the same executor, which waited for this one."""
    executor = state.due[position].executor
    for later in range(position + 1, len(state.due)):
        if state.due[later].executor == executor:
            return later
    return None


# What is inside.


def _turn_of(level: Level, landed: protocol.Landed) -> _Turn | None:
    name, separator, _ = landed.key.partition(naming.SEPARATOR)
    return level.turns.get(name) if separator and landed.kind != "event" else None


def _enter(level: Level, turn: _Turn, state: run_state.RunState, *, announced: bool = False) -> protocol.Failure | None:
    """Let a sub-workflow have its turn, or go on with it."""
    delivery = level.state.due[turn.position]
    host = inside.Inside(level.host, run_state.key(level.state.superstep, delivery), delivery.executor)
    turn.level = Level(level.run, host, turn.graph, naming.place(level.path, delivery.executor), state)
    turn.steps = _to_idle(turn.level, announced)
    return _drive(level, turn, None)


def _inside(level: Level, turn: _Turn, landed: protocol.Landed) -> protocol.Failure | None:
    if turn.steps is None:
        return None
    return _drive(level, turn, landed._replace(key=landed.key.partition(naming.SEPARATOR)[2]))


def _drive(level: Level, turn: _Turn, landed: protocol.Landed | None) -> protocol.Failure | None:
    assert turn.steps is not None and turn.level is not None
    executor = level.state.due[turn.position].executor
    try:
        if landed is None:
            next(turn.steps)
        else:
            turn.steps.send(landed)
        return None
    except StopIteration as stop:
        failure: protocol.Failure | None = stop.value
    turn.steps = None
    if failure is not None:
        return _failed(level, executor, failure)
    name = run_state.key(level.state.superstep, level.state.due[turn.position])
    place = naming.place(level.path, executor)
    turned = turn.level.state
    step = _step(level, turn.position, f"{EXIT}/{name}", place, None, fold=turn.fold, turned=turned)
    attempts.start(level.host, step)
    return None


def _to_idle(level: Level, announced: bool) -> protocol.Stepping[protocol.Failure | None]:
    """Run a sub-workflow's supersteps until nothing is due."""
    if level.state.due and not announced:
        if level.state.superstep > level.graph.max_iterations:
            return not_converged(level.graph)
        announce(level)
        level.run.keep()
    while level.state.due:
        if level.state.superstep > level.graph.max_iterations:
            return not_converged(level.graph)
        failure = (yield from superstep(level, _nothing)) or cross(level)
        if failure is not None:
            return failure
    return None


def _nothing(landed: protocol.Landed) -> None:
    """What lands inside and belongs to no step any more."""


def _close(level: Level, name: str) -> None:
    turn = level.turns.pop(name, None)
    if turn is not None and turn.until:
        level.host.cancel(f"{attempts.TIMEOUT}/{name}")


def _late(level: Level, key: str) -> _Turn | None:
    kind, _, name = key.partition("/")
    return level.turns.get(name) if kind == attempts.TIMEOUT else None


def _time_ran_out(level: Level, turn: _Turn) -> protocol.Failure:
    executor = level.state.due[turn.position].executor
    rule = level.run.policies.rule(naming.place(level.path, executor))
    return attempts.late(executor, rule.timeout if rule is not None else 0.0)


def _became_a_wrapper(executor: str) -> protocol.Failure:
    return protocol.Failure(
        "DefinitionChanged",
        f"Executor {executor!r} wraps a workflow in the code of today, and did not when the run was started. "
        "Start a new run, or rewind this one with the code that it was started with.",
    )
