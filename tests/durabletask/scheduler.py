"""The SDK's in-memory backend as a scheduler that several workers share and of which one may die.

What the real one does and the backend leaves out: work that a worker took belongs to its connection, and goes to
another when that breaks; what an earlier life of an orchestration had scheduled does not reach a later one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import grpc  # type: ignore[import-untyped]  # it ships no types
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as messages
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import in_memory_backend as backend

THREADS = 200
PATIENCE_SECONDS = 60.0


class Stream:
    """A worker's connection."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.worker = dict(context.invocation_metadata()).get("workerid", "")
        self.cut = False

    def is_active(self) -> bool:
        return not self.cut and bool(self._context.is_active())


@dataclass(slots=True)
class Lease:
    """Work that a worker has."""

    stream: Stream
    instance_id: str
    activity: backend.ActivityWorkItem | None


class Door(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Turns every call away while it is closed."""

    def __init__(self) -> None:
        self.closed: tuple[grpc.StatusCode, str] | None = None
        self._news = threading.Condition()
        self._turned_away = 0

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if self.closed is None:
            return continuation(handler_call_details)
        with self._news:
            self._turned_away += 1
            self._news.notify_all()
        code, details = self.closed
        return grpc.unary_unary_rpc_method_handler(lambda request, context: context.abort(code, details))

    def until_turned_away(self, times: int) -> None:
        """Wait until so many calls were turned away."""
        with self._news:
            assert self._news.wait_for(lambda: self._turned_away >= times, PATIENCE_SECONDS), "nobody came"


class Scheduler(backend.InMemoryOrchestrationBackend):
    """A scheduler on a free port of this machine.

    Attributes:
        unheard: So many answers to turns it does not hear: the turns are due again.
    """

    def __init__(self) -> None:
        super().__init__(port=0, max_history_size=1_000_000)
        self._news = threading.Condition(self._lock)
        self.connections = 0
        self._streams: list[Stream] = []
        self._leases: dict[str, Lease] = {}
        self._leased = 0
        self._killed: set[str] = set()
        self.address = ""
        self.door = Door()
        self.bytes = 0
        self.given_back: list[str] = []
        self.cut_off: list[tuple[str, str]] = []
        """Connection and instance of each activity that was in hand when its connection broke."""
        self.unheard = 0

    def start(self) -> str:
        self._shutdown_event.clear()
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        self._server = grpc.server(futures.ThreadPoolExecutor(THREADS), interceptors=[self.door], options=options)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()
        self.address = f"http://127.0.0.1:{self._port}"
        return self.address

    def stop(self, grace: float | None = None) -> None:
        """Stop the server; what is under way is cut off."""
        self._shutdown_event.set()
        self._work_available.set()
        self._generation += 1
        server, self._server = self._server, None
        if server is not None:
            assert server.stop(grace).wait(PATIENCE_SECONDS), "calls that were cut off do not end"

    def cut(self) -> None:
        """Break with all workers, as if they were killed: what they had is due again, and none of them comes back."""
        with self._lock:
            streams, self._streams = self._streams, []
            for stream in streams:
                self._killed.add(stream.worker)
                self._drop(stream)

    def history(self, instance_id: str) -> int:
        """How many events the history of an orchestration has."""
        with self._lock:
            return len(self._instances[instance_id].history)

    def scheduled(self, instance_id: str) -> list[str]:
        """Names of the activities that an orchestration has scheduled in this life."""
        with self._lock:
            history = self._instances[instance_id].history
            return [event.taskScheduled.name for event in history if event.HasField("taskScheduled")]

    @property
    def taken(self) -> int:
        """How many work items workers have."""
        with self._lock:
            return len(self._leases)

    def until_quiet(self) -> None:
        """Wait until no turn of any orchestration is due or under way."""
        with self._news:
            assert self._news.wait_for(self._quiet, PATIENCE_SECONDS), "turns did not come to an end"

    def until_connected(self, connections: int) -> None:
        """Wait until workers have connected so often; the connection of one that was killed may last a while."""
        with self._news:
            came = self._news.wait_for(lambda: self.connections >= connections, PATIENCE_SECONDS)
        assert came, "a worker did not come"

    def _quiet(self) -> bool:
        queued = [self._instances.get(instance_id) for instance_id in self._orchestration_queue]
        return not self._orchestration_in_flight and not any(one and one.pending_events for one in queued)

    def GetWorkItems(self, request: Any, context: Any) -> Iterator[Any]:
        stream = Stream(context)
        with self._lock:
            if stream.worker in self._killed:
                context.abort(grpc.StatusCode.UNAVAILABLE, "this worker is dead")
            self._streams.append(stream)
            self.connections += 1
            self._news.notify_all()
        context.add_callback(lambda: self._drop(stream))
        for item in super().GetWorkItems(request, cast(grpc.ServicerContext, stream)):
            with self._lock:
                self._lease(stream, item)
                if not stream.is_active():
                    self._drop(stream)
                    return
            self.bytes += item.ByteSize()
            yield item

    def CompleteActivityTask(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.bytes += request.ByteSize()
            if self._leases.pop(request.completionToken, None) is None:
                return messages.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    def CompleteOrchestratorTask(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.bytes += request.ByteSize()
            lease = self._leases.pop(request.completionToken, None)
            if lease is None:
                return messages.CompleteTaskResponse()
            if self.unheard:
                self.unheard -= 1
                self._give_back(lease)
                return messages.CompleteTaskResponse()
            try:
                return super().CompleteOrchestratorTask(request, context)
            finally:
                self._news.notify_all()

    def AbandonTaskOrchestratorWorkItem(self, request: Any, context: Any) -> Any:
        with self._lock:
            if self._leases.pop(request.completionToken, None) is None:
                return messages.AbandonOrchestrationTaskResponse()
            return super().AbandonTaskOrchestratorWorkItem(request, context)

    def AbandonTaskActivityWorkItem(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.given_back.append(request.completionToken)
            lease = self._leases.pop(request.completionToken, None)
            if lease is not None:
                self._give_back(lease)
            return messages.AbandonActivityTaskResponse()

    def _lease(self, stream: Stream, item: Any) -> None:
        if item.HasField("activityRequest"):
            asked = item.activityRequest
            self._leased += 1
            item.completionToken = f"activity-{self._leased}"
            instance_id = asked.orchestrationInstance.instanceId
            text = asked.input.value if asked.HasField("input") else None
            work = backend.ActivityWorkItem(instance_id, asked.name, asked.taskId, text, 0)
            self._leases[item.completionToken] = Lease(stream, instance_id, work)
        elif item.HasField("orchestratorRequest"):
            self._leases[item.completionToken] = Lease(stream, item.orchestratorRequest.instanceId, None)

    def _drop(self, stream: Stream) -> None:
        with self._lock:
            stream.cut = True
            for token in [token for token, lease in self._leases.items() if lease.stream is stream]:
                lease = self._leases.pop(token)
                if lease.activity is not None:
                    self.cut_off.append((f"{stream.worker} {id(stream)}", lease.instance_id))
                self._give_back(lease)

    def _give_back(self, lease: Lease) -> None:
        if lease.activity is not None:
            self._activity_queue.appendleft(lease.activity)
            self._work_available.set()
            return
        instance = self._instances.get(lease.instance_id)
        self._orchestration_in_flight.discard(lease.instance_id)
        self._news.notify_all()
        if instance is None:
            return
        instance.pending_events[:0] = instance.dispatched_events
        instance.dispatched_events.clear()
        instance.completion_token = self._next_completion_token
        self._next_completion_token += 1
        self._enqueue_orchestration(lease.instance_id)

    def _process_complete_orchestration_action(self, instance: Any, complete_action: Any) -> None:
        if complete_action.orchestrationStatus == messages.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
            gone = instance.instance_id
            kept = [item for item in self._activity_queue if item.instance_id != gone]
            self._activity_queue.clear()
            self._activity_queue.extend(kept)
            for token in [token for token, lease in self._leases.items() if lease.instance_id == gone]:
                del self._leases[token]
            instance.life = getattr(instance, "life", 0) + 1
        super()._process_complete_orchestration_action(instance, complete_action)

    def _process_create_timer_action(self, instance: Any, action: Any) -> None:
        fire_at = action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        instance.history.append(helpers.new_timer_created_event(action.id, fire_at))
        life = getattr(instance, "life", 0)

        def fire() -> None:
            with self._lock:
                if self._lives(instance, life):
                    instance.pending_events.append(helpers.new_timer_fired_event(action.id, fire_at))
                    self._enqueue_orchestration(instance.instance_id)

        delay = (fire_at - datetime.now(UTC)).total_seconds()
        if delay <= 0:
            fire()
            return
        timer = threading.Timer(delay, fire)
        timer.daemon = True
        timer.start()

    def _lives(self, instance: Any, life: int) -> bool:
        """Say whether this life of an orchestration goes on."""
        there = self._instances.get(instance.instance_id) is instance and getattr(instance, "life", 0) == life
        return there and not self._is_terminal_status(instance.status) and not self._shutdown_event.is_set()
