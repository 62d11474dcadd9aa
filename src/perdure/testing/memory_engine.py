"""The in-memory twin of an engine: orchestrations in this process, their histories in lists."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Mapping
from typing import Any

from perdure import errors, tracebacks
from perdure.payloads import store
from perdure.testing import memory_instance
from perdure.workflow import protocol


class MemoryEngine:
    """Runs orchestrations on the running loop, as a durable engine does; all is gone with the object.

    ``stop`` and ``start`` make of it what a kill and a new process make of a durable one.

    Args:
        orchestrators: By durable name.
        activities: By durable name.
        payloads: Where the payloads of results go.
        rebuild_every: Throw a generator away after every so many landings and run it again over the history,
            as a host does after a crash; 0 for never.
        clock: Gives the time in seconds since the epoch.
        on_turn: Told the id of an orchestration after each of its turns, when its events and status are there.

    Attributes:
        payloads: The payload store.
        invocations: Instance id and key of every activity that was started, in order.
        events: What each orchestration emitted, by instance id.
        statuses: The custom status of each, by instance id.
    """

    def __init__(
        self,
        orchestrators: Mapping[str, protocol.Orchestrator],
        activities: Mapping[str, protocol.Activity],
        *,
        payloads: store.PayloadStore | None = None,
        rebuild_every: int = 0,
        clock: Callable[[], float] = time.time,
        on_turn: Callable[[str], None] = lambda instance_id: None,
    ) -> None:
        self.payloads = payloads if payloads is not None else store.MemoryPayloadStore()
        self.orchestrators = orchestrators
        self.activities = activities
        self.rebuild_every = rebuild_every
        self.invocations: list[tuple[str, str]] = []
        self.events: dict[str, list[bytes]] = {}
        self.statuses: dict[str, bytes | None] = {}
        self._clock = clock
        self._on_turn = on_turn
        self._instances: dict[str, memory_instance.Instance] = {}
        self._todo: collections.deque[Callable[[], None]] = collections.deque()
        self._doing = False
        self._cancelled: set[asyncio.Task[None]] = set()

    async def begin(self, name: str, instance_id: str, call: bytes) -> bool:
        """Start an orchestration unless the id exists; says whether it is new.

        Raises:
            UsageError: If there is no orchestrator of that name.
        """
        if name not in self.orchestrators:
            known = ", ".join(sorted(self.orchestrators)) or "none"
            raise errors.UsageError(f"There is no orchestrator {name!r}.", f"There are: {known}.")
        if instance_id in self._instances:
            return False
        self._do(lambda: self._begin(name, instance_id, call))
        return True

    async def raise_event(self, instance_id: str, name: str, data: bytes) -> bool:
        """Send an event; False if the orchestration is unknown or has ended."""
        instance = self._instances.get(instance_id)
        if instance is None or instance.ended is not None:
            return False
        self._do(lambda: self._land(instance, "event", name, data))
        return True

    async def wait(self, instance_id: str, seconds: float | None = None) -> protocol.Ended | None:
        """Give how an orchestration ended; None if it is unknown or has not ended when the time is over."""
        instance = self._instances.get(instance_id)
        if instance is None:
            return None
        try:
            await asyncio.wait_for(instance.over.wait(), seconds)
        except TimeoutError:
            return None
        return instance.ended

    async def run(self, name: str, instance_id: str, call: bytes) -> protocol.Ended:
        """Run an orchestration to its end.

        Raises:
            UsageError: If there is no orchestrator of that name, or the id exists.
        """
        if not await self.begin(name, instance_id, call):
            raise errors.UsageError(f"The id {instance_id!r} is taken.", "Give each orchestration an id of its own.")
        instance = self._instances[instance_id]
        try:
            await instance.over.wait()
        finally:
            self._let_go(instance)
            await self._settle()
        assert instance.ended is not None
        return instance.ended

    async def stop(self) -> None:
        """Let go of everything, as if the process were killed: what was recorded stays."""
        for instance in self._instances.values():
            self._let_go(instance)
        await self._settle()

    async def start(self) -> None:
        """Set going again what ``stop`` let go of."""
        for instance in list(self._instances.values()):
            if instance.ended is None:
                self._do(lambda instance=instance: self._revive(instance))  # type: ignore[misc]  # a default binds it

    # One thing after another: an orchestrator is never entered while one runs.

    def _do(self, what: Callable[[], None]) -> None:
        self._todo.append(what)
        if self._doing:
            return
        self._doing = True
        try:
            while self._todo:
                self._todo.popleft()()
        finally:
            self._doing = False

    def _begin(self, name: str, instance_id: str, call: bytes, parent: tuple[str, str] | None = None) -> None:
        instance = memory_instance.Instance(self.orchestrators[name], instance_id, call, self._clock(), parent)
        self._instances[instance_id] = instance
        self.events[instance_id] = instance.events
        instance.open()
        self._follow_up(instance)

    def _land(
        self,
        instance: memory_instance.Instance,
        kind: memory_instance.Kind,
        key: str,
        data: Any,
        value: Any = memory_instance.UNDECODED,
    ) -> None:
        if instance.ended is not None or (kind != "event" and key not in instance.outstanding):
            return
        if kind != "event" and key in instance.tasks:
            self._cancel(instance, key)
        if self.rebuild_every and (len(instance.history) + 1) % self.rebuild_every == 0:
            instance.replay()
        item = memory_instance.Recorded(kind, key, data, max(self._clock(), instance.now))
        instance.history.append(item)
        instance.land(item, value)
        self._follow_up(instance)

    def _revive(self, instance: memory_instance.Instance) -> None:
        instance.replay()
        self._follow_up(instance)

    def _follow_up(self, instance: memory_instance.Instance) -> None:
        """Announce what a turn gave, and carry out what it asked for."""
        instance.events += instance.emitted
        self.statuses[instance.instance_id] = instance.custom_status
        scheduled = [work for work in instance.scheduled if instance.outstanding.get(work.key) is work]
        for key in [key for key in instance.tasks if key not in instance.outstanding]:
            self._cancel(instance, key)
        instance.next_turn()
        self._on_turn(instance.instance_id)
        if instance.ended is not None:
            self._let_go(instance)
            instance.over.set()
            if instance.parent is not None:
                self._land_child(*instance.parent, instance.ended)
            return
        for work in scheduled:
            if work.kind == "child":
                self._begin_child(instance, work)
            elif work.key not in instance.tasks:
                act = self._fire if work.kind == "timer" else self._act
                instance.tasks[work.key] = asyncio.create_task(act(instance, work))

    def _let_go(self, instance: memory_instance.Instance) -> None:
        instance.close()
        for key in list(instance.tasks):
            self._cancel(instance, key)

    def _cancel(self, instance: memory_instance.Instance, key: str) -> None:
        task = instance.tasks.pop(key)
        # A task that lands something goes on to its own end.
        if task is not asyncio.current_task() and task.cancel():
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)

    async def _settle(self) -> None:
        await asyncio.gather(*self._cancelled, return_exceptions=True)

    # Activities, timers and children.

    async def _act(self, instance: memory_instance.Instance, work: memory_instance.Work) -> None:
        self.invocations.append((instance.instance_id, work.key))
        kind: memory_instance.Kind = "failure"
        data: Any
        try:
            activity = self.activities.get(work.name)
            if activity is None:
                raise LookupError(f"There is no activity {work.name!r}.")
            outcome = await activity(instance.instance_id, work.key, work.call)
            await self.payloads.put(outcome.owner or instance.instance_id, outcome.blobs)
            kind, data, value = "result", outcome.data, outcome.value
        except asyncio.CancelledError as error:
            if instance.tasks.get(work.key) is not asyncio.current_task():
                raise  # The engine cancelled it; what it would have given is not waited for.
            data = value = tracebacks.failure(error)
        except protocol.Stranded:
            return
        except Exception as error:
            data = value = tracebacks.failure(error)
        if instance.tasks.get(work.key) is asyncio.current_task():
            self._do(lambda: self._land(instance, kind, work.key, data, value))

    async def _fire(self, instance: memory_instance.Instance, work: memory_instance.Work) -> None:
        while (left := work.fire_at - self._clock()) > 0:
            await asyncio.sleep(left)
        # Whichever timer wakes first, those that are due land in the order of their times.
        due = [other for other in instance.outstanding.values() if other.kind == "timer"]
        for other in sorted(due, key=lambda other: other.fire_at):
            if other.fire_at <= work.fire_at:
                self._do(lambda key=other.key: self._land(instance, "timer", key, None))  # type: ignore[misc]  # a default binds it

    def _begin_child(self, parent: memory_instance.Instance, work: memory_instance.Work) -> None:
        place = (parent.instance_id, work.key)
        child = self._instances.get(work.child_id)
        if child is not None and child.parent != place:
            taken = f"The child {work.child_id!r} exists already and belongs to another orchestration."
            self._land_child(*place, protocol.Ended(failure=protocol.Failure("InstanceExists", taken)))
        elif child is not None:
            if child.ended is not None:
                self._land_child(*place, child.ended)
        elif work.name not in self.orchestrators:
            unknown = protocol.Failure("LookupError", f"There is no orchestrator {work.name!r}.")
            self._land_child(*place, protocol.Ended(failure=unknown))
        else:
            self._do(lambda: self._begin(work.name, work.child_id, work.call, place))

    def _land_child(self, parent_id: str, key: str, ended: protocol.Ended) -> None:
        parent = self._instances[parent_id]
        if ended.failure is not None:
            self._do(lambda: self._land(parent, "failure", key, ended.failure))
        else:
            self._do(lambda: self._land(parent, "result", key, ended.output))
