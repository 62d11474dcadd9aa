"""An orchestration of the SDK that drives a life: what the life asks for is scheduled, and it is told what landed."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, Final

from durabletask import task, worker

from perdure.hosts.replay import life, lives, wire
from perdure.workflow import protocol


class RunFailed(Exception):
    """How an orchestration tells the SDK that it has failed."""


class _Landing(task.CompositeTask[Any]):
    """Tells the inbox when a task is done; it never completes itself, so that nothing else waits for it."""

    def __init__(self, inbox: Inbox, serial: int, child: task.Task[Any]) -> None:
        self._inbox = inbox
        self._serial = serial
        super().__init__([child])

    def on_child_completed(self, task: task.Task[Any]) -> None:
        self._inbox.put(self._serial, task)


class Inbox:
    """What has landed in an orchestration and was not taken yet.

    The SDK's own ``when_any`` would be made anew over all that is out for each landing.
    """

    def __init__(self) -> None:
        self._landed: list[tuple[int, task.Task[Any]]] = []
        self._watched: dict[int, _Landing] = {}
        self._wait: task.CompletableTask[None] | None = None

    def watch(self, serial: int, found: task.Task[Any]) -> None:
        """Have a task put here when it is done."""
        self._watched[serial] = _Landing(self, serial, found)

    def forget(self, serial: int) -> None:
        """Take no notice of a task any more."""
        self._watched.pop(serial, None)

    def put(self, serial: int, found: task.Task[Any]) -> None:
        """Take in a task that is done."""
        self._landed.append((serial, found))
        if self._wait is not None and not self._wait.is_complete:
            self._wait.complete(None)

    def take(self) -> tuple[int, task.Task[Any]] | None:
        """Give what landed first; None if there is nothing."""
        while self._landed:
            serial, found = self._landed.pop(0)
            if self._watched.pop(serial, None) is not None or serial == _HEARING:
                return serial, found
        return None

    def wait(self) -> task.Task[None]:
        """Give what to yield until something lands."""
        self._wait = task.CompletableTask[None]()
        return self._wait


_HEARING: Final = 0


def drive(context: task.OrchestrationContext, living: lives.Replayed, child: bool) -> Generator[Any, Any, Any]:
    """Run one life of an orchestration as an orchestrator of the SDK.

    Args:
        context: The SDK's.
        living: The life.
        child: Whether another orchestration waits for it.
    """
    inbox = Inbox()
    tasks: dict[int, tuple[life.Role, task.Task[Any]]] = {}
    said = wire.Status()
    inbox.watch(_HEARING, context.wait_for_external_event(wire.EVENT))
    turn = living.begin(_seconds(context.current_utc_datetime))
    while True:
        for serial in turn.dropped:
            inbox.forget(serial)
            _, dropped = tasks.pop(serial)
            if isinstance(dropped, task.CancellableTask):
                dropped.cancel()
        for order in turn.orders:
            scheduled = _schedule(context, order)
            tasks[order.serial] = order.work.role, scheduled
            inbox.watch(order.serial, scheduled)
        if living.said != said:
            said = living.said
            context.set_custom_status(wire.pack(said))
        if isinstance(turn.over, wire.Start):
            context.continue_as_new(wire.pack(turn.over), save_events=True)
            return None
        if turn.over is not None:
            if turn.over.failure is not None and not child:
                raise RunFailed(f"{turn.over.failure.type}: {turn.over.failure.message}")
            return wire.pack(turn.over)
        landed = inbox.take()
        while landed is None:
            yield inbox.wait()
            landed = inbox.take()
        serial, done = landed
        now = _seconds(context.current_utc_datetime)
        if serial == _HEARING:
            # None waits already: the SDK gives one at a time, and keeps what comes when this life is over for the next.
            inbox.watch(_HEARING, context.wait_for_external_event(wire.EVENT))
            turn = living.take(lives.Landing(None, None, done.get_result(), None, False, now))
        else:
            role, _ = tasks.pop(serial)
            turn = living.take(_landing(serial, role, done, now))


def _schedule(context: task.OrchestrationContext, order: life.Order) -> task.Task[Any]:
    work = order.work
    if work.role == "timer":
        return context.create_timer(datetime.fromtimestamp(work.fire_at, UTC))
    if work.role == "child":
        start = wire.pack(wire.Start(work.call, child=True))
        return context.call_sub_orchestrator(work.name, input=start, instance_id=work.child_id)
    # In a replay the engine has the input already, and only the name is compared.
    return context.call_activity(work.name, input="" if context.is_replaying else wire.pack(order.task))


def _landing(serial: int, role: life.Role, done: task.Task[Any], now: float) -> lives.Landing:
    if not done.is_failed:
        return lives.Landing(serial, role, done.get_result(), None, False, now)
    details = done.get_exception().details
    failure = protocol.Failure(details.error_type.rpartition(".")[2], details.message, details.stack_trace or "")
    absent = failure.type == worker.ActivityNotRegisteredError.__name__
    return lives.Landing(serial, role, None, failure, absent, now)


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()
