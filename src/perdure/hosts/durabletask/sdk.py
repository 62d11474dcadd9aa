"""The durabletask SDK: the only module that touches what of it has no public name."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from durabletask import client, task, worker
from durabletask.azuremanaged.client import AsyncDurableTaskSchedulerClient
from durabletask.azuremanaged.worker import DurableTaskSchedulerWorker
from durabletask.grpc_options import GrpcChannelOptions, GrpcWorkerResiliencyOptions
from durabletask.internal import helpers, tracing
from durabletask.internal import orchestrator_service_pb2 as messages

from perdure import errors
from perdure.hosts.durabletask import driving
from perdure.hosts.replay import life, lives, wire

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


_SCHEDULED: Final = ("taskScheduled", "timerCreated", "subOrchestrationInstanceCreated")
"""What a history says of what an orchestration has asked for."""


class Turns(worker._OrchestrationExecutor):
    """A life of an orchestration that stays in memory: a turn goes on where the one before stopped.

    The SDK takes in one event of a history after another, so what it makes of them in one turn it makes of them in
    several. A turn goes on only from the very events that were taken in: each of them is compared.

    CONTRACT: ``execute`` gives each event of a history to ``process_event(context, event)``; what it makes of them is
    in the executor and that context; the rest of ``execute`` is what ``_go_on`` does.

    Attributes:
        life: The life that runs in it, once it does.
        told: The last turn, with the whole history; None until there is one.
    """

    life: lives.Replayed | None = None
    told: messages.OrchestratorRequest | None = None
    _context: Any = None

    @property
    def over(self) -> bool:
        """Whether no turn can follow: none goes on from a rewinding either, in which nothing was run."""
        return self.told is None or self._context is None or bool(self._context._is_complete)

    @property
    def ended(self) -> bool:
        """Whether the orchestration has ended with this life."""
        return self.life is not None and self.life.ended

    def close(self) -> None:
        """Let go of the life."""
        if self.life is not None:
            self.life.close()

    def goes_on(self, request: messages.OrchestratorRequest) -> bool:
        """Say whether a turn is one more of the same history."""
        told = self.told
        if told is None or not request.newEvents or any(e.HasField("executionRewound") for e in request.newEvents):
            return False
        old, new, past = len(told.pastEvents), len(told.newEvents), request.pastEvents
        return bool(past[:old] == told.pastEvents[:] and past[old : old + new] == told.newEvents[:])

    def turn(self, request: messages.OrchestratorRequest) -> worker.ExecutionResults:
        """Execute a turn, the first or one that goes on."""
        told, self.told = self.told, None
        if told is None:
            found = self.execute(request.instanceId, request.pastEvents, request.newEvents)
        else:
            found = self._go_on(request.pastEvents[len(told.pastEvents) + len(told.newEvents) :], request.newEvents)
        self.told = request
        return found

    def process_event(self, ctx: Any, event: messages.HistoryEvent) -> None:
        """Take in an event."""
        self._context = ctx
        kind = event.WhichOneof("eventType")
        if kind == ("executionSuspended" if self._is_suspended else "executionResumed"):
            # Somebody does it twice. Resumed twice the SDK fails it; suspended twice it never comes to an end.
            return
        if kind not in _SCHEDULED:
            super().process_event(ctx, event)
            return
        # The SDK puts these off too while it is suspended, and would have the same scheduled again in each turn.
        suspended, self._is_suspended = self._is_suspended, False
        try:
            super().process_event(ctx, event)
        finally:
            self._is_suspended = suspended

    def _go_on(
        self, old: Sequence[messages.HistoryEvent], new: Sequence[messages.HistoryEvent]
    ) -> worker.ExecutionResults:
        context = self._context
        try:
            context._is_replaying = True
            for event in old:
                self.process_event(context, event)
            context._is_replaying = False
            for event in new:
                self.process_event(context, event)
        except Exception as error:
            context.set_failed(error)
        return worker.ExecutionResults(
            context.get_actions(), context._encoded_custom_status, context._orchestration_trace_context
        )


class _Worker(DurableTaskSchedulerWorker):
    """A worker that keeps orchestrations in memory between their turns, and gives back what it cannot do now.

    What landed with a termination is not told: it would be taken for news, and the next step be scheduled.

    CONTRACT: ``TaskHubGrpcWorker`` runs each turn by ``_execute_orchestrator(request, stub, token)`` on one thread and
    each activity by ``_execute_activity``, lets what is no ``Exception`` out of them, and gives work back by
    ``_cancel_orchestrator`` and ``_cancel_activity`` with the same arguments. It answers a turn by
    ``CompleteOrchestratorTask`` with what its executor gives, and emits a span of an orchestration that is over.

    Args:
        ended: Told of an orchestration whose last turn was here.
    """

    def __init__(self, *args: Any, ended: Callable[[str], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._here = threading.local()
        self._ended = ended
        self.lives = lives.Lives[Turns]()

    def begin(self, living: lives.Replayed) -> None:
        """Say which life runs in the turn on this thread."""
        self._here.turns.life = living

    def _execute_orchestrator(self, req: Any, stub: Any, completionToken: Any) -> None:
        _end_where_terminated(req)
        turns = self._here.turns = self._turns(req)
        try:
            answer = self._answer(turns, req, completionToken)
        except Abandoned as error:
            logger.warning("A turn of %r is given back: %s", req.instanceId, error)
            time.sleep(ABANDON_SECONDS)
            self._cancel_orchestrator(req, stub, completionToken)
            return
        except Exception:
            # What is no history for the SDK fails an orchestration, in its words.
            super()._execute_orchestrator(req, stub, completionToken)
            return
        finally:
            # Before it is answered: the next turn may come at once.
            self.lives.put(req.instanceId, turns)
        try:
            stub.CompleteOrchestratorTask(answer)
        except Exception as error:
            # It is due again, and not of the history that was executed here.
            logger.warning("A turn of %r could not be told to the scheduler: %s", req.instanceId, error)
        if turns.ended:
            self._ended(req.instanceId)

    def _turns(self, request: messages.OrchestratorRequest) -> Turns:
        turns = self.lives.take(request.instanceId)
        if turns is not None:
            if turns.goes_on(request):
                return turns
            turns.close()
        return Turns(
            self._registry,
            self._logger,
            self._data_converter,
            request.orchestrationTraceContext.spanID.value or None,
            self.maximum_timer_interval,
        )

    def _answer(self, turns: Turns, request: messages.OrchestratorRequest, token: str) -> messages.OrchestratorResponse:
        began = request.orchestrationTraceContext.spanStartTime.ToNanoseconds() or time.time_ns()
        found = turns.turn(request)
        traced = found._orchestration_trace_context
        for action in found.actions:
            if action.HasField("completeOrchestration"):
                _trace(request, action.completeOrchestration, began, traced)
        return messages.OrchestratorResponse(
            instanceId=request.instanceId,
            actions=found.actions,
            customStatus=helpers.get_string_value(found.encoded_custom_status),
            completionToken=token,
            orchestrationTraceContext=tracing.build_orchestration_trace_context(
                began, None if traced is None else traced.spanID
            ),
        )

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


def _trace(
    request: messages.OrchestratorRequest,
    over: messages.CompleteOrchestrationAction,
    began: int,
    traced: messages.TraceContext | None,
) -> None:
    """Emit the span of a life that is over."""
    history = itertools.chain(request.pastEvents, request.newEvents)
    started = next((event.executionStarted for event in history if event.HasField("executionStarted")), None)
    if started is None:
        return
    failed = over.orchestrationStatus == messages.ORCHESTRATION_STATUS_FAILED
    tracing.emit_orchestration_span(
        started.name,
        request.instanceId,
        began,
        failed,
        over.failureDetails if failed else None,
        started.parentTraceContext if started.HasField("parentTraceContext") else None,
        traced,
    )


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
        self._inner = _Worker(
            ended=ended,
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
        self._inner.lives.close()

    def _orchestrator(self, make: Make) -> Callable[..., Any]:
        def run(context: task.OrchestrationContext, text: str) -> Generator[Any, Any, Any]:
            start = wire.unpack(text, wire.Start)
            living = lives.Replayed(lambda now: make(context.instance_id, start, now))
            self._inner.begin(living)
            return driving.drive(context, living, start.child)

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
