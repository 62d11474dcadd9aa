"""The durabletask SDK: the only module that touches what of it has no public name."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from durabletask import client, task, worker
from durabletask.azuremanaged.client import AsyncDurableTaskSchedulerClient
from durabletask.azuremanaged.worker import DurableTaskSchedulerWorker
from durabletask.grpc_options import GrpcChannelOptions, GrpcWorkerResiliencyOptions
from durabletask.internal import orchestrator_service_pb2 as messages

from perdure import errors
from perdure.hosts.replay import life, lives, wire
from perdure.workflow import protocol

ACTIVITIES_AT_ONCE: Final = 100
TURNS_AT_ONCE: Final = 16
ABANDON_SECONDS: Final = 1.0
LARGEST_MESSAGE_BYTES: Final = 64 * 1024 * 1024

LONGEST_RECONNECT_SECONDS: Final = 10
KEEPALIVE_MILLISECONDS: Final = 60_000

logger = logging.getLogger("perdure.durabletask")


class Address(NamedTuple):
    """Where a scheduler is.

    Attributes:
        url: As it was given.
        host: Host and port.
        secure: Whether it is spoken to over TLS, with a credential.
        taskhub: The task hub.
    """

    url: str
    host: str
    secure: bool
    taskhub: str


def address(url: str, taskhub: str) -> Address:
    """Read a scheduler's endpoint.

    Raises:
        UsageError: If it is none.
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.path.strip("/"):
        raise errors.UsageError(
            f"{url!r} is no endpoint of a scheduler.",
            "Give one such as https://my-scheduler.westeurope.durabletask.io or http://localhost:8080.",
        )
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(url, f"{host}:{port or (443 if secure else 80)}", secure, taskhub)


class Abandoned(BaseException):
    """Raised in an orchestrator or an activity that cannot be run now: the scheduler gives it to somebody again.

    No ``Exception``, since the SDK makes a failure of any of those.
    """


class RunFailed(Exception):
    """How an orchestration tells the SDK that it has failed."""


# Orchestrators.


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


# Workers and clients.


class _Worker(DurableTaskSchedulerWorker):
    """A worker that lets go of each life when its turn is over, and gives back what it cannot do now.

    What landed with a termination is not told: it would be taken for news, and the next step be scheduled.

    CONTRACT: ``TaskHubGrpcWorker`` runs each turn by ``_execute_orchestrator(request, stub, token)`` on one thread and
    each activity by ``_execute_activity``, lets what is no ``Exception`` out of them, and gives work back by
    ``_cancel_orchestrator`` and ``_cancel_activity`` with the same arguments.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._here = threading.local()

    def at_end_of_turn(self, call: Callable[[], None]) -> None:
        """Have something called when the turn on this thread is over."""
        self._here.call = call

    def _execute_orchestrator(self, req: Any, stub: Any, completionToken: Any) -> None:
        self._here.call = None
        _end_where_terminated(req)
        try:
            super()._execute_orchestrator(req, stub, completionToken)
        except Abandoned as error:
            logger.warning("A turn of %r is given back: %s", req.instanceId, error)
            time.sleep(ABANDON_SECONDS)
            self._cancel_orchestrator(req, stub, completionToken)
        finally:
            call: Callable[[], None] | None = self._here.call
            if call is not None:
                call()

    def _execute_activity(self, req: Any, stub: Any, completionToken: Any) -> None:
        try:
            super()._execute_activity(req, stub, completionToken)
        except Abandoned:
            self._cancel_activity(req, stub, completionToken)


def _end_where_terminated(request: messages.OrchestratorRequest) -> None:
    """Leave nothing of a turn in which an orchestration is terminated but that."""
    if any(event.HasField("executionTerminated") for event in request.newEvents):
        kept = [event for event in request.newEvents if event.WhichOneof("eventType") in _TERMINATION]
        del request.newEvents[:]
        request.newEvents.extend(kept)


_TERMINATION: Final = ("orchestratorStarted", "executionTerminated")


Make = Callable[[str, wire.Start, float], life.Life]
"""Makes a life of the orchestration with this id, at a time."""

Act = Callable[[str, wire.Task], wire.Reply]
"""Does the work of an activity for the orchestration with this id."""


class Worker:
    """Takes work items of a task hub, on threads of its own.

    Args:
        where: The scheduler.
        orchestrators: What makes a life, by durable name.
        activities: What does the work, by durable name.
        ended: Told of an orchestration whose last turn was here.
        credential: For a secure scheduler.
        at_once: How many activities run at a time.
    """

    def __init__(
        self,
        where: Address,
        orchestrators: Mapping[str, Make],
        activities: Mapping[str, Act],
        *,
        ended: Callable[[str], None] = lambda instance_id: None,
        credential: Any = None,
        at_once: int = ACTIVITIES_AT_ONCE,
    ) -> None:
        self._ended = ended
        self._inner = _Worker(
            host_address=where.host,
            taskhub=where.taskhub,
            token_credential=credential,
            secure_channel=where.secure,
            channel_options=_channel_options(),
            resiliency_options=GrpcWorkerResiliencyOptions(reconnect_backoff_cap_seconds=LONGEST_RECONNECT_SECONDS),
            # An activity holds a thread while it waits: however many do, a turn finds one.
            concurrency_options=worker.ConcurrencyOptions(at_once, TURNS_AT_ONCE, 1, at_once + TURNS_AT_ONCE + 1),
            logger=logger,
        )
        self._lives = lives.Lives()
        for name, make in orchestrators.items():
            self._inner.add_orchestrator(_named(name, self._orchestrator(make)))
        for name, act in activities.items():
            self._inner.add_activity(_named(name, _activity(act)))
        # What this worker does not have is not for it, and waits for one that has it.
        self._inner.use_work_item_filters()

    def start(self) -> None:
        """Take work items; one that cannot reach the scheduler goes on trying."""
        self._inner.start()  # type: ignore[no-untyped-call]  # the SDK gives it no types

    def stop(self) -> None:
        """Take no more and wait for what runs."""
        self._inner.stop()  # type: ignore[no-untyped-call]  # the SDK gives it no types

    def let_go(self) -> None:
        """Close all lives; waits for the turns that are under way."""
        self._lives.close()

    def _turn_over(self, instance_id: str, start: str, living: lives.Replayed) -> None:
        self._lives.put(instance_id, start, living)
        if living.ended:
            self._ended(instance_id)

    def _orchestrator(self, make: Make) -> Callable[..., Any]:
        def run(context: task.OrchestrationContext, text: str) -> Generator[Any, Any, Any]:
            start = wire.unpack(text, wire.Start)
            instance_id = context.instance_id
            living = self._lives.take(instance_id, text, lambda now: make(instance_id, start, now))
            self._inner.at_end_of_turn(lambda: self._turn_over(instance_id, text, living))
            return drive(context, living, start.child)

        return run


def _activity(act: Act) -> Callable[..., str]:
    def run(context: task.ActivityContext, text: str) -> str:
        return wire.pack(act(context.orchestration_id, wire.unpack(text, wire.Task)))

    return run


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function


def credential(where: Address) -> Any:
    """Give what a worker signs in with; None where nobody is asked to."""
    if not where.secure:
        return None
    from azure import identity

    return identity.DefaultAzureCredential()


def credential_for_loop(where: Address) -> Any:
    """Give what a client on an event loop signs in with; None where nobody is asked to."""
    if not where.secure:
        return None
    from azure.identity import aio

    return aio.DefaultAzureCredential()


def make_client(where: Address, credential: Any = None) -> client.AsyncTaskHubGrpcClient:
    """Make a client; its connection belongs to the loop that uses it first."""
    return AsyncDurableTaskSchedulerClient(
        host_address=where.host,
        taskhub=where.taskhub,
        token_credential=credential,
        secure_channel=where.secure,
        channel_options=_channel_options(),
        logger=logger,
    )


def _channel_options() -> GrpcChannelOptions:
    return GrpcChannelOptions(
        max_receive_message_length=LARGEST_MESSAGE_BYTES,
        max_send_message_length=LARGEST_MESSAGE_BYTES,
        keepalive_time_ms=KEEPALIVE_MILLISECONDS,
        raw_options=[("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_SECONDS * 1000)],
    )


def refusing() -> Any:
    """Give the policy under which an id that exists is never started again."""
    return messages.OrchestrationIdReusePolicy()


def replacing_failed() -> Any:
    """Give the policy under which only an orchestration that has failed makes way for another of its id."""
    return messages.OrchestrationIdReusePolicy(replaceableStatus=[messages.ORCHESTRATION_STATUS_FAILED])
