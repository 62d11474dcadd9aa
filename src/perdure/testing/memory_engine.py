"""The in-memory twin of an engine: runs an orchestration in this process and keeps its history in a list."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from perdure import tracebacks
from perdure.payloads import store
from perdure.workflow import protocol


class Recorded(msgspec.Struct, frozen=True):
    """One landing as the history holds it: values encoded, as a durable host keeps them."""

    kind: str
    key: str
    data: Any
    time: float


class MemoryEngine:
    """Runs orchestrations without durability; time is a counter of landings.

    Args:
        orchestrators: By durable name.
        activities: By durable name.
        rebuild_every: Throw the generator away after every so many landings and run it again over the history,
            as a host does after a crash; 0 for never.
    """

    def __init__(
        self,
        orchestrators: Mapping[str, protocol.Orchestrator],
        activities: Mapping[str, protocol.Activity],
        *,
        payloads: store.PayloadStore | None = None,
        rebuild_every: int = 0,
    ) -> None:
        self.payloads = payloads if payloads is not None else store.MemoryPayloadStore()
        self.orchestrators = orchestrators
        self.activities = activities
        self.rebuild_every = rebuild_every
        self.invocations: list[tuple[str, str]] = []
        self.events: dict[str, list[bytes]] = {}
        self.statuses: dict[str, bytes | None] = {}
        self._inboxes: dict[str, asyncio.Queue[protocol.Landed]] = {}

    def raise_event(self, instance_id: str, name: str, data: bytes) -> None:
        """Send an event to a running orchestration."""
        self._inboxes[instance_id].put_nowait(protocol.Landed("event", name, data, 0.0))

    async def run(self, name: str, instance_id: str, call: bytes) -> protocol.Ended:
        """Run an orchestration to its end."""
        inbox = self._inboxes[instance_id] = asyncio.Queue()
        events = self.events[instance_id] = []
        history: list[Recorded] = []
        clock = itertools.count(1)
        running: dict[str, asyncio.Task[None]] = {}
        current = self.orchestrators[name]
        kept: tuple[bytes, int] | None = None
        host = _Host(instance_id, 0.0)
        steps, ended = _advance(current.begin(host, call), None)
        try:
            while True:
                events.extend(host.emitted)
                self.statuses[instance_id] = host.custom_status
                if ended is not None:
                    return ended
                self._dispatch(host, inbox, running)
                if host.kept is not None:
                    kept = (host.kept(), len(history))
                landed = await inbox.get()
                running.pop(landed.key, None)
                data = landed.value
                if landed.kind == "result":
                    landed, data = landed._replace(value=landed.value.value), landed.value.data
                landed = landed._replace(time=float(next(clock)))
                history.append(Recorded(landed.kind, landed.key, data, landed.time))
                host.forget(landed.time)
                if self.rebuild_every and len(history) % self.rebuild_every == 0:
                    steps.close()
                    steps, ended, host = self._rebuild(current, instance_id, call, kept, history)
                else:
                    steps, ended = _advance(steps, landed)
        finally:
            steps.close()
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    def _rebuild(
        self,
        current: protocol.Orchestrator,
        instance_id: str,
        call: bytes,
        kept: tuple[bytes, int] | None,
        history: list[Recorded],
    ) -> tuple[protocol.Steps, protocol.Ended | None, _Host]:
        host = _Host(instance_id, 0.0)
        state, start = kept if kept is not None else (None, 0)
        began = current.begin(host, call) if state is None else current.resume(host, call, state)
        steps, ended = _advance(began, None)
        for item in history[start:]:
            # Only the last landing is new: what the earlier ones emitted is in the log already.
            host.forget(item.time)
            host.started.pop(item.key, None)
            value = current.decode(item.data) if item.kind == "result" else item.data
            landed = protocol.Landed(item.kind, item.key, value, item.time)  # type: ignore[arg-type]  # a kind, as recorded
            steps, ended = _advance(steps, landed)
        return steps, ended, host

    def _dispatch(
        self, host: _Host, inbox: asyncio.Queue[protocol.Landed], running: dict[str, asyncio.Task[None]]
    ) -> None:
        for key in host.cancelled:
            if key in running:
                running.pop(key).cancel()
        for key, start in host.started.items():
            if key not in running:
                running[key] = asyncio.create_task(self._land(host.instance_id, key, start, inbox))
        host.started.clear()

    async def _land(
        self, instance_id: str, key: str, start: Callable[[MemoryEngine], Any], inbox: asyncio.Queue[protocol.Landed]
    ) -> None:
        try:
            outcome = await start(self)
        except Exception as error:
            inbox.put_nowait(protocol.Landed("failure", key, tracebacks.failure(error), 0.0))
            return
        if outcome is None:
            inbox.put_nowait(protocol.Landed("timer", key, None, 0.0))
            return
        await self.payloads.put(outcome.owner or instance_id, outcome.blobs)
        inbox.put_nowait(protocol.Landed("result", key, outcome, 0.0))


class _Host:
    """What one orchestration asked for since its last landing."""

    def __init__(self, instance_id: str, now: float) -> None:
        self.instance_id = instance_id
        self.now = now
        self.started: dict[str, Callable[[MemoryEngine], Any]] = {}
        self.cancelled: list[str] = []
        self.emitted: list[bytes] = []
        self.custom_status: bytes | None = None
        self.kept: Callable[[], bytes] | None = None

    def forget(self, now: float) -> None:
        """Begin a new turn."""
        self.now = now
        self.cancelled.clear()
        self.emitted.clear()
        self.kept = None

    def activity(self, key: str, name: str, call: Any) -> None:
        """Schedule an activity."""

        def start(engine: MemoryEngine) -> Any:
            engine.invocations.append((self.instance_id, key))
            return engine.activities[name](self.instance_id, key, call)

        self.started[key] = start

    def child(self, key: str, name: str, instance_id: str, call: bytes) -> None:
        """Schedule a child."""

        async def run(engine: MemoryEngine) -> protocol.Outcome:
            ended = await engine.run(name, instance_id, call)
            if ended.output is None:
                raise RuntimeError(ended.failure.message if ended.failure else "the child failed")
            return protocol.Outcome(engine.orchestrators[name].decode(ended.output), ended.output)

        self.started[key] = run

    def timer(self, key: str, fire_at: float) -> None:
        """Schedule a timer: it fires at once, for time here is only an order."""

        async def fire(_engine: MemoryEngine) -> None:
            await asyncio.sleep(0)

        self.started[key] = fire

    def cancel(self, key: str) -> None:
        """Forget what was scheduled."""
        self.started.pop(key, None)
        self.cancelled.append(key)

    def emit(self, event: bytes) -> None:
        """Append an event."""
        self.emitted.append(event)

    def status(self, value: bytes | None) -> None:
        """Set the custom status."""
        self.custom_status = value

    def keep(self, state: Callable[[], bytes]) -> None:
        """Offer a state to resume from."""
        self.kept = state


def _advance(steps: protocol.Steps, landed: protocol.Landed | None) -> tuple[protocol.Steps, protocol.Ended | None]:
    try:
        if landed is None:
            next(steps)
        else:
            steps.send(landed)
    except StopIteration as stop:
        return steps, stop.value
    return steps, None
