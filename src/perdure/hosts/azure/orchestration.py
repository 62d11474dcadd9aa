"""Lives of an orchestration as an orchestrator function of Durable Functions: a generator over the SDK's context.

The SDK runs it over its history again and again; given the same history it asks for the same. Nothing here looks at a
clock, reads a store or has any other effect: those are the activities' part.
"""

from __future__ import annotations

import datetime
import functools
import json
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, Literal, NamedTuple

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func

from perdure.hosts.azure import sdk, statuses, wire
from perdure.hosts.replay import life, lives
from perdure.hosts.replay import wire as texts
from perdure.payloads import owners
from perdure.workflow import protocol

SHOWN_BYTES: Final = 3072
"""Events up to this size stand in the status, which has room for them and for open requests, and are no write."""

TIMER_HOP_SECONDS: Final = 3 * 86_400.0
"""Longer timers are set in hops: a message of Azure Storage lives for a week at most, and so does the SDK's own way
round that not give back a timer that is cancelled."""

CALL_LIMIT_BYTES: Final = 256 * 1024
"""The longest input that travels with every life; an orchestrator here cannot read what is stored apart."""

AGAIN_SECONDS: Final = 10.0
"""How long to wait before what failed beside the steps is asked for again."""

Steps = Generator[sdk.Task, Any, Any]


class RunFailed(Exception):
    """Ends an orchestration as failed; a later one may be rewound."""


def function(one: protocol.Orchestrator, held: lives.Replays) -> Callable[[func.OrchestrationContext], str]:
    """Give an orchestrator as the function that the extension calls with a history, once for each turn.

    Args:
        one: The orchestrator.
        held: Where its lives are between their turns.
    """

    def handle(context: func.OrchestrationContext) -> str:
        turn = _Turn(one, held)
        try:
            answer: str = df.Orchestrator.create(turn.run)(context)
            return answer
        finally:
            turn.close()

    return handle


class _Turn:
    """Takes a life for the time of one turn.

    Args:
        one: The orchestrator.
        held: Where its lives are between their turns.
    """

    def __init__(self, one: protocol.Orchestrator, held: lives.Replays) -> None:
        self._orchestrator = one
        self._lives = held
        self._taken: tuple[tuple[str, str], lives.Replayed] | None = None

    def run(self, context: df.DurableOrchestrationContext) -> Steps:
        """Run the life over its history."""
        driver = _Driver(context, self._orchestrator.name)
        start = yield from driver.started()
        if start.stored:
            raise RunFailed(
                f"The workflow's graph takes more than {CALL_LIMIT_BYTES // 1024} KiB, and on Azure Functions it "
                "travels with each run. Make several workflows of it."
            )
        text = texts.pack(start)
        key = context.instance_id, text
        living = self._lives.take(key)
        if living is None:
            one, id = self._orchestrator, context.instance_id
            make = functools.partial(life.Life, one, id, start, start.call, shown_bytes=SHOWN_BYTES)
            living = lives.Replayed(make)
        self._taken = key, living
        return (yield from driver.live(living, start))

    def close(self) -> None:
        """Put the life back."""
        if self._taken is not None:
            self._lives.put(*self._taken)


class _Out(NamedTuple):
    """A task that is out: for a life's order, or the driver's own."""

    task: sdk.Task
    role: life.Role | None
    serial: int = 0
    fire_at: float = 0.0
    aside: dict[str, Any] | None = None


class _Driver:
    """Drives one life.

    Args:
        context: The SDK's.
        name: The orchestrator's durable name.
    """

    def __init__(self, context: df.DurableOrchestrationContext, name: str) -> None:
        self._context = context
        self._name = name
        self._inbox = sdk.Inbox()
        self._out: dict[int, _Out] = {}
        self._ordered: dict[int, sdk.Task] = {}
        self._recorded: set[str] = set()
        self._owner = ""

    def live(self, living: lives.Replayed, start: texts.Start) -> Steps:
        """Give the engine what the life asks for, and the life what lands, until it is over."""
        self._owner = owners.of(self._context.instance_id, start.incarnation)
        # The life before has seen it written.
        self._recorded.update(statuses.apart(start.status))
        self._listen()
        turn = living.begin(self._now())
        if start.state is not None and (asked := _undecided(living.said.value)):
            # What came while it continued as new, the engine dropped.
            self._ask("unread", asked)
        while True:
            for serial in turn.dropped:
                self._drop(serial)
            for order in turn.orders:
                self._schedule(order, living)
            self._say(living)
            if isinstance(turn.over, texts.Start):
                yield from self._written(living)
                self._stop_timers()
                self._context.continue_as_new(wire.start(turn.over))
                return None
            if turn.over is not None:
                self._stop_timers()
                if turn.over.failure is not None and not start.child:
                    raise RunFailed(f"{turn.over.failure.type}: {turn.over.failure.message}")
                end = texts.pack(turn.over)
                return (yield from self._plain(end)) if self._context.parent_instance_id and not start.child else end
            turn = self._landed(living, (yield from self._inbox.next()))

    def _written(self, living: lives.Replayed) -> Steps:
        """Wait until what the status names is there, as the next life takes it to be; that asks for all else again."""
        while any(map(_is_naming, self._out.values())):
            task = yield from self._inbox.next()
            if _is_naming(self._out[id(task)]):
                self._landed(living, task)
            else:
                del self._out[id(task)]

    def _plain(self, end: str) -> Steps:
        """Give a run's outputs to the hand-written orchestration that called it; how it ended is a record then."""
        while True:
            task = self._context.call_activity(wire.ASIDE, self._beside("outputs", end))
            inbox = sdk.Inbox()
            inbox.watch(task)
            yield from inbox.next()
            if not sdk.failed(task):
                return json.loads(task.result)
            yield self._context.create_timer(_moment(self._now() + AGAIN_SECONDS))

    def started(self) -> Steps:
        """Read the start; what was started by hand, with an input of its own, is accepted first."""
        given = self._context.get_input()
        try:
            return texts.unpack(wire.unpack(wire.Start, given).start, texts.Start)
        except (ValueError, TypeError):
            # The id is given to it from outside. What it is told apart by must be the same in each replay.
            incarnation = str(self._context.new_uuid()).replace("-", "")[: owners.INCARNATION_DIGITS]
            self._owner = owners.of(self._context.instance_id, incarnation)
            accepted = yield self._context.call_activity(wire.ASIDE, self._beside("accept", given))
            return texts.unpack(accepted, texts.Start)

    # What a turn asks for.

    def _schedule(self, order: life.Order, living: lives.Replayed) -> None:
        work = order.work
        if work.role == "timer":
            self._set_timer(order.serial, work.fire_at)
        elif work.role == "child":
            start = wire.start(texts.Start(work.call, child=True))
            task = self._context.call_sub_orchestrator(work.name, start, work.child_id)
            self._add(_Out(task, work.role, order.serial))
        else:
            given = living.worked_out.get(order.serial)
            if given is None:
                given = wire.pack(wire.Order(self._context.instance_id, texts.pack(order.task)))
                living.worked_out[order.serial] = given
            task = self._context.call_activity(work.name, given)
            self._add(_Out(task, work.role, order.serial))

    def _set_timer(self, serial: int, fire_at: float) -> None:
        hop = min(fire_at, self._now() + TIMER_HOP_SECONDS)
        self._add(_Out(self._context.create_timer(_moment(hop)), "timer", serial, fire_at))

    def _listen(self) -> None:
        self._add(_Out(self._context.wait_for_external_event(texts.EVENT), None))

    def _ask(self, what: Literal["unread", "status"], value: Any) -> None:
        given = self._beside(what, value)
        self._add(_Out(self._context.call_activity(wire.ASIDE, given), None, aside=given))

    def _beside(self, what: Literal["accept", "unread", "status", "outputs"], value: Any) -> dict[str, Any]:
        return wire.pack(wire.Aside(self._owner, self._name, what, value))

    def _add(self, out: _Out) -> None:
        self._out[id(out.task)] = out
        self._ordered[out.serial] = out.task
        self._inbox.watch(out.task)

    def _drop(self, serial: int) -> None:
        task = self._ordered.pop(serial, None)
        if task is None:
            return
        self._inbox.forget(task)
        if self._out.pop(id(task)).role == "timer":
            _stop(task)

    def _stop_timers(self) -> None:
        for out in self._out.values():
            if out.role == "timer":
                _stop(out.task)

    # What lands.

    def _landed(self, living: lives.Replayed, task: sdk.Task) -> life.Turn:
        out = self._out.pop(id(task))
        if out.role == "timer":
            return self._fired(living, out)
        if out.aside is not None:
            return self._done_beside(living, out, task)
        if out.role is None:
            self._listen()
            return self._heard(living, task.result)
        if sdk.failed(task):
            failure = protocol.Failure("FunctionFailed", str(task.result).strip())
            return self._land(living, out, None, failure)
        return self._land(living, out, task.result)

    def _land(
        self, living: lives.Replayed, out: _Out, text: str | None, failure: protocol.Failure | None = None
    ) -> life.Turn:
        self._ordered.pop(out.serial)
        return living.take(lives.Landing(out.serial, out.role, text, failure, False, self._now()))

    def _hear(self, living: lives.Replayed, heard: texts.Heard) -> life.Turn:
        return living.take(lives.Landing(None, None, texts.pack(heard), None, False, self._now()))

    def _fired(self, living: lives.Replayed, out: _Out) -> life.Turn:
        if out.aside is not None:
            self._add(_Out(self._context.call_activity(wire.ASIDE, out.aside), None, aside=out.aside))
        elif self._now() < out.fire_at:
            self._set_timer(out.serial, out.fire_at)
        else:
            return self._land(living, out, None)
        return life.Turn()

    def _heard(self, living: lives.Replayed, value: Any) -> life.Turn:
        try:
            heard = texts.unpack(wire.unpack(wire.Event, value).event, texts.Heard)
        except (ValueError, TypeError):
            # Raised by hand, and nothing that was accepted.
            return life.Turn()
        return self._hear(living, heard)

    def _done_beside(self, living: lives.Replayed, out: _Out, task: sdk.Task) -> life.Turn:
        assert out.aside is not None
        if sdk.failed(task):
            timer = self._context.create_timer(_moment(self._now() + AGAIN_SECONDS))
            self._add(_Out(timer, "timer", aside=out.aside))
            return life.Turn()
        if out.aside["what"] != "unread":
            return life.Turn()
        turns = [self._hear(living, heard) for heard in texts.unpack(task.result, tuple[texts.Heard, ...])]
        orders = tuple(order for turn in turns for order in turn.orders)
        dropped = tuple(serial for turn in turns for serial in turn.dropped)
        return life.Turn(orders, dropped, next((turn.over for turn in turns if turn.over is not None), None))

    # What it says of itself.

    def _say(self, living: lives.Replayed) -> None:
        """Set the custom status: in full on every turn, and never an empty one, which the SDK would leave out."""
        key = "said", living.place
        if key not in living.worked_out:
            shown, named = statuses.show(living.said)
            living.worked_out[key] = wire.pack(shown), named
        said, named = living.worked_out[key]
        fresh = [text for name, text in named.items() if name not in self._recorded]
        if fresh:
            self._recorded.update(named)
            self._ask("status", fresh)
        self._context.set_custom_status(said)

    def _now(self) -> float:
        now: float = self._context.current_utc_datetime.timestamp()
        return now


def _is_naming(out: _Out) -> bool:
    return out.aside is not None and out.aside["what"] == "status"


def _undecided(said: bytes | None) -> Sequence[str]:
    status = statuses.read(said)
    return [] if status is None else [texts.request_record(request) for request in status.requests]


def _moment(seconds: float) -> datetime.datetime:
    """Give a time that is not before these seconds since the epoch."""
    return _EPOCH + datetime.timedelta(microseconds=math.ceil(seconds * 1e6))


def _stop(timer: sdk.Task) -> None:
    if not timer.is_completed:
        timer.cancel()


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
