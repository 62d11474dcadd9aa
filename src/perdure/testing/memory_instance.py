"""One orchestration in memory: what is recorded of it, and its present life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from perdure import tracebacks
from perdure.workflow import protocol

Kind = Literal["result", "failure", "timer", "event"]
UNDECODED = object()


class Recorded(msgspec.Struct, frozen=True):
    """One landing as the history holds it: values encoded, as a durable host keeps them."""

    kind: Kind
    key: str
    data: Any
    time: float


class Work(NamedTuple):
    """What an orchestration waits for."""

    kind: Literal["activity", "child", "timer"]
    key: str
    name: str = ""
    call: Any = None
    child_id: str = ""
    fire_at: float = 0.0


class Kept(NamedTuple):
    """A state to resume from, and what else was true when it was offered."""

    state: bytes
    seq: int
    custom_status: bytes | None


class Instance:
    """One orchestration: what is recorded of it, and its present life as the ``protocol.Host`` of a generator."""

    def __init__(
        self,
        orchestrator: protocol.Orchestrator,
        instance_id: str,
        call: bytes,
        created: float,
        parent: tuple[str, str] | None,
    ) -> None:
        self.orchestrator = orchestrator
        self.instance_id = instance_id
        self.call = call
        self.created = created
        self.parent = parent
        self.history: list[Recorded] = []
        self.events: list[bytes] = []
        self.kept: Kept | None = None
        self.ended: protocol.Ended | None = None
        self.over = asyncio.Event()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._steps: protocol.Steps | None = None
        self._reset()

    def _reset(self) -> None:
        self.seq = 0
        self.now = self.created
        self.custom_status: bytes | None = None
        self.outstanding: dict[str, Work] = {}
        self.next_turn()

    def next_turn(self) -> None:
        """Forget what the last turn asked for."""
        self.scheduled: list[Work] = []
        self.emitted: list[bytes] = []

    def open(self) -> None:
        """Run to the first wait, from the start or from the kept state."""
        self._reset()
        kept = self.kept
        if kept is None:
            self._steps = self.orchestrator.begin(self, self.call)
        else:
            self.seq, self.custom_status = kept.seq, kept.custom_status
            self.now = self.history[kept.seq - 1].time if kept.seq else self.created
            self._steps = self.orchestrator.resume(self, self.call, kept.state)
        self._step(None)

    def land(self, item: Recorded, value: Any = UNDECODED) -> None:
        """Send a landing, decoding its data unless its value is at hand, and run to the next wait."""
        if item.kind != "event":
            self.outstanding.pop(item.key, None)
        self.seq += 1
        self.now = item.time
        if value is UNDECODED:
            value = item.data
            if item.kind == "result" and item.data is not None:
                try:
                    value = self.orchestrator.decode(item.data)
                except Exception as error:
                    self._fail(error)
                    return
        self._step(protocol.Landed(item.kind, item.key, value, item.time))

    def replay(self) -> None:
        """Run a new generator over the history; what it emits there was emitted before."""
        self.close()
        self.open()
        for item in self.history[self.seq :]:
            self.land(item)
        self.emitted.clear()

    def close(self) -> None:
        """Let go of the generator."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

    def _step(self, landed: protocol.Landed | None) -> None:
        assert self._steps is not None
        try:
            if landed is None:
                next(self._steps)
            else:
                self._steps.send(landed)
        except StopIteration as stop:
            self._end(stop.value if isinstance(stop.value, protocol.Ended) else protocol.Ended())
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._end(protocol.Ended(failure=tracebacks.failure(error)))

    def _end(self, ended: protocol.Ended) -> None:
        self.ended = ended
        self.outstanding = {}

    # What the orchestrator calls.

    def activity(self, key: str, name: str, call: Any) -> None:
        """Run an activity."""
        self._schedule(Work("activity", key, name, call))

    def child(self, key: str, name: str, instance_id: str, call: bytes) -> None:
        """Start a child."""
        self._schedule(Work("child", key, name, call, child_id=instance_id))

    def timer(self, key: str, fire_at: float) -> None:
        """Set a timer."""
        self._schedule(Work("timer", key, fire_at=fire_at))

    def cancel(self, key: str) -> None:
        """Forget what was scheduled."""
        self.outstanding.pop(key, None)

    def emit(self, event: bytes) -> None:
        """Append an event."""
        self.emitted.append(event)

    def status(self, value: bytes | None) -> None:
        """Set the custom status."""
        self.custom_status = value

    def keep(self, state: Callable[[], bytes]) -> None:
        """Keep a state to resume from."""
        self.kept = Kept(state(), self.seq, self.custom_status)

    def _schedule(self, work: Work) -> None:
        if work.key in self.outstanding:
            raise ValueError(f"The key {work.key!r} is in use by another {self.outstanding[work.key].kind}.")
        self.outstanding[work.key] = work
        self.scheduled.append(work)
