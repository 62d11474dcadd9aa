"""Lives of an orchestration as an orchestrator function of Durable Functions: a generator over the SDK's context.

The SDK runs it over its history again and again; given the same history it asks for the same. Nothing here looks at a
clock, reads a store or has any other effect: those are the activities' part.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, Literal, NamedTuple

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import msgspec

from perdure.hosts.azure import sdk, wire
from perdure.hosts.replay import life
from perdure.hosts.replay import wire as texts
from perdure.workflow import orchestrator, protocol

TIMER_HOP_SECONDS: Final = 3 * 86_400.0
"""Longer timers are set in hops: a message of Azure Storage lives for a week at most, and so does the SDK's own way
round that not give back a timer that is cancelled."""

STATUS_LIMIT_CHARACTERS: Final = 7_500
"""A custom status takes 16 KiB of UTF-16; a longer one is a record, and the status has its name."""

CALL_LIMIT_BYTES: Final = 256 * 1024
"""The longest input that travels with every life; an orchestrator here cannot read what is stored apart."""

AGAIN_SECONDS: Final = 10.0
"""How long to wait before what failed beside the steps is asked for again."""

Steps = Generator[sdk.Task, Any, Any]


class RunFailed(Exception):
    """Ends an orchestration as failed; a later one may be rewound."""


def function(one: protocol.Orchestrator) -> Callable[[Any], Steps]:
    """Give an orchestrator as an orchestrator function."""

    def orchestrate(context: df.DurableOrchestrationContext) -> Steps:
        return (yield from _Driver(context, one).run())

    return orchestrate


class _Out(NamedTuple):
    """A task that is out: for a life's order, or the driver's own."""

    task: sdk.Task
    role: str
    serial: int = 0
    fire_at: float = 0.0
    aside: dict[str, Any] | None = None


class _Driver:
    """Drives one life."""

    def __init__(self, context: df.DurableOrchestrationContext, one: protocol.Orchestrator) -> None:
        self._context = context
        self._orchestrator = one
        self._out: dict[int, _Out] = {}
        self._fresh = False
        self._recorded = ""

    def run(self) -> Steps:
        start = yield from self._started()
        living = life.Life(self._orchestrator, self._context.instance_id, start, start.call, self._now())
        try:
            return (yield from self._live(living, start))
        finally:
            living.close()

    def _live(self, living: life.Life, start: texts.Start) -> Steps:
        self._listen()
        turn = living.begin()
        if start.state is not None and (asked := _undecided(living.said.value)):
            # What came while it continued as new, the engine dropped.
            self._ask("unread", asked)
        while True:
            for serial in turn.dropped:
                self._drop(serial)
            for order in turn.orders:
                self._schedule(order)
            self._say(living)
            if isinstance(turn.over, texts.Start):
                self._stop_timers()
                self._context.continue_as_new(wire.start(turn.over))
                return None
            if turn.over is not None:
                self._stop_timers()
                if turn.over.failure is not None and not start.child:
                    raise RunFailed(f"{turn.over.failure.type}: {turn.over.failure.message}")
                end = texts.pack(turn.over)
                return (yield from self._plain(end)) if self._context.parent_instance_id and not start.child else end
            turn = self._landed(living, (yield self._wait()))

    def _plain(self, end: str) -> Steps:
        """Give a run's outputs to the hand-written orchestration that called it; how it ended is a record then."""
        while True:
            task = self._context.call_activity(wire.ASIDE, self._beside("outputs", end))
            yield sdk.first_of(self._context, [task], fresh=True)
            if not sdk.failed(task):
                return json.loads(task.result)
            yield self._context.create_timer(_moment(self._now() + AGAIN_SECONDS))

    def _started(self) -> Steps:
        """Read the start; what was started by hand, with an input of its own, is accepted first."""
        given = self._context.get_input()
        try:
            return texts.unpack(wire.unpack(wire.Start, given).start, texts.Start)
        except (ValueError, TypeError):
            accepted = yield self._context.call_activity(wire.ASIDE, self._beside("accept", given))
            return texts.unpack(accepted, texts.Start)

    # What a turn asks for.

    def _schedule(self, order: life.Order) -> None:
        work = order.work
        if work.role == "timer":
            self._set_timer(order.serial, work.fire_at)
        elif work.role == "child":
            start = wire.start(texts.Start(work.call, child=True))
            task = self._context.call_sub_orchestrator(work.name, start, work.child_id)
            self._add(_Out(task, work.role, order.serial))
        else:
            given = wire.pack(wire.Order(self._context.instance_id, texts.pack(order.task)))
            task = self._context.call_activity(work.name, given)
            self._add(_Out(task, work.role, order.serial))

    def _set_timer(self, serial: int, fire_at: float) -> None:
        hop = min(fire_at, self._now() + TIMER_HOP_SECONDS)
        self._add(_Out(self._context.create_timer(_moment(hop)), "timer", serial, fire_at))

    def _listen(self) -> None:
        self._add(_Out(self._context.wait_for_external_event(texts.EVENT), "event"))

    def _ask(self, what: Literal["unread", "status"], value: Any) -> None:
        given = self._beside(what, value)
        self._add(_Out(self._context.call_activity(wire.ASIDE, given), "aside", aside=given))

    def _beside(self, what: Literal["accept", "unread", "status", "outputs"], value: Any) -> dict[str, Any]:
        return wire.pack(wire.Aside(self._context.instance_id, self._orchestrator.name, what, value))

    def _add(self, out: _Out) -> None:
        self._out[id(out.task)] = out
        self._fresh = True

    def _drop(self, serial: int) -> None:
        for key, out in list(self._out.items()):
            if out.serial == serial:
                del self._out[key]
                if out.role == "timer":
                    _stop(out.task)

    def _stop_timers(self) -> None:
        for out in self._out.values():
            if out.role == "timer":
                _stop(out.task)

    # What lands.

    def _wait(self) -> sdk.Task:
        fresh, self._fresh = self._fresh, False
        return sdk.first_of(self._context, [out.task for out in self._out.values()], fresh=fresh)

    def _landed(self, living: life.Life, task: sdk.Task) -> life.Turn:
        out = self._out.pop(id(task))
        living.move(self._now())
        if out.role == "event":
            self._listen()
            return self._heard(living, task.result)
        if out.role == "timer":
            return self._fired(living, out)
        if out.aside is not None:
            return self._done_beside(living, out, task)
        if sdk.failed(task):
            failure = protocol.Failure("FunctionFailed", str(task.result).strip())
            return living.land(out.serial, texts.Reply("failure", failure=failure))
        if out.role == "child":
            return living.land(out.serial, texts.unpack(task.result, texts.End))
        return living.land(out.serial, texts.unpack(task.result, texts.Reply))

    def _fired(self, living: life.Life, out: _Out) -> life.Turn:
        if out.aside is not None:
            self._add(_Out(self._context.call_activity(wire.ASIDE, out.aside), "aside", aside=out.aside))
        elif self._now() < out.fire_at:
            self._set_timer(out.serial, out.fire_at)
        else:
            return living.land(out.serial, None)
        return life.Turn()

    def _heard(self, living: life.Life, value: Any) -> life.Turn:
        try:
            heard = texts.unpack(wire.unpack(wire.Event, value).event, texts.Heard)
        except (ValueError, TypeError):
            # Raised by hand, and nothing that was accepted.
            return life.Turn()
        return living.hear(heard)

    def _done_beside(self, living: life.Life, out: _Out, task: sdk.Task) -> life.Turn:
        assert out.aside is not None
        if sdk.failed(task):
            timer = self._context.create_timer(_moment(self._now() + AGAIN_SECONDS))
            self._add(_Out(timer, "timer", aside=out.aside))
            return life.Turn()
        if out.aside["what"] != "unread":
            return life.Turn()
        turns = [living.hear(heard) for heard in texts.unpack(task.result, tuple[texts.Heard, ...])]
        orders = tuple(order for turn in turns for order in turn.orders)
        dropped = tuple(serial for turn in turns for serial in turn.dropped)
        return life.Turn(orders, dropped, next((turn.over for turn in turns if turn.over is not None), None))

    # What it says of itself.

    def _say(self, living: life.Life) -> None:
        """Set the custom status: in full on every turn, and never an empty one, which the SDK would leave out."""
        status = living.said
        text = texts.pack(status)
        said = _summary(status.value)
        if len(text) <= STATUS_LIMIT_CHARACTERS:
            said = msgspec.structs.replace(said, said=text)
        else:
            said = msgspec.structs.replace(said, record=wire.name_of(text))
            if said.record != self._recorded:
                self._recorded = said.record
                self._ask("status", text)
        self._context.set_custom_status(wire.pack(msgspec.structs.replace(said, waitingFor=status.held[:500])))

    def _now(self) -> float:
        now: float = self._context.current_utc_datetime.timestamp()
        return now


def _summary(said: bytes | None) -> wire.Status:
    status = _read(said)
    if status is None:
        return wire.Status("running")
    state: Literal["running", "waiting for answers"] = "waiting for answers" if status.idle else "running"
    return wire.Status(state, status.superstep, len(status.requests))


def _undecided(said: bytes | None) -> Sequence[str]:
    status = _read(said)
    return [] if status is None else [texts.request_record(request) for request in status.requests]


def _read(said: bytes | None) -> orchestrator.RunStatus | None:
    """Read what a run says of itself; None for what is no run's."""
    try:
        return None if said is None else orchestrator.decode_status(said)
    except msgspec.DecodeError:
        return None


def _moment(seconds: float) -> datetime.datetime:
    """Give a time that is not before these seconds since the epoch."""
    return _EPOCH + datetime.timedelta(microseconds=math.ceil(seconds * 1e6))


def _stop(timer: sdk.Task) -> None:
    if not timer.is_completed:
        timer.cancel()


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
