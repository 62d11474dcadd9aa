"""A live instance: landings in, effects out. No I/O and no clock; the shell carries the effects out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from perdure import tracebacks
from perdure.engine import records
from perdure.workflow import protocol

KEEP_EVERY_LANDINGS = 16
KEEP_AT_PARKING_LANDINGS = 4
STAY_FOR_TIMER_SECONDS = 2.0
"""An instance whose next timer is nearer than this stays in memory."""

log = logging.getLogger("perdure.engine")


class Work:
    """An activity, a child or a timer that an instance waits for.

    Attributes:
        kind: ``activity``, ``child`` or ``timer``.
        key: The orchestrator's key for it.
        name: Name of the activity or of the child's orchestrator.
        call: The activity's call, or the child's encoded input.
        epoch: When it was scheduled; attempts count from there.
        child_id: The child's instance id.
        fire_at: When the timer is due, seconds since the epoch.
    """

    __slots__ = ("call", "child_id", "epoch", "fire_at", "key", "kind", "name")

    def __init__(
        self, kind: str, key: str, epoch: int, name: str = "", call: Any = None, child_id: str = "", fire_at: float = 0
    ) -> None:
        self.kind = kind
        self.key = key
        self.name = name
        self.call = call
        self.epoch = epoch
        self.child_id = child_id
        self.fire_at = fire_at


class Turn:
    """What one landing caused: the row to write, and what to do once it is committed.

    Attributes:
        live: The instance.
        row: The history row; None for a first turn without events.
        kept: A state to store with it.
        scheduled: Work that the turn added and that is still wanted.
        cancelled: Work that the turn took back.
        emitted: Its events.
        ended: How the instance ended, if it did.
        status: The instance's status after the turn.
        first: Whether it is the instance's first.
        unparked: Whether it took the instance out of parking; kept by the shell.
        arrival: What the shell gave with the landing, to land it again if the commit fails.
    """

    __slots__ = (
        "arrival",
        "cancelled",
        "custom_status",
        "emitted",
        "ended",
        "first",
        "kept",
        "live",
        "row",
        "scheduled",
        "status",
        "time",
        "unparked",
    )

    def __init__(self, live: Live) -> None:
        self.live = live
        self.row: records.Row | None = None
        self.kept: records.Kept | None = None
        self.scheduled: list[Work] = []
        self.cancelled: list[Work] = []
        self.emitted: list[bytes] = []
        self.ended: protocol.Ended | None = None
        self.status: records.Status = "Running"
        self.custom_status: bytes | None = None
        self.time = 0.0
        self.first = False
        self.unparked = False
        self.arrival: Any = None


_NO_TURN: Turn = Turn.__new__(Turn)


Shown = tuple[float, bytes | None, int]


class _Offer:
    """A state offered to ``keep``, with what else was true at that moment."""

    __slots__ = ("custom_status", "epoch", "older", "seq", "state")

    def __init__(self, live: Live, state: Callable[[], bytes]) -> None:
        self.seq = live.seq
        self.epoch = live.epoch
        self.custom_status = live.custom_status
        self.state = state
        self.older = {} if live.older == 0 else live.older_epochs()


class Live:
    """An instance in memory; the ``protocol.Host`` of its orchestrator.

    Attributes:
        outstanding: What it waits for, by key.
        seq: The number of landings so far.
        events: The number of events emitted so far.
        busy: The number of outstanding activities and children.
        uncommitted: Turns whose commit is still to come; kept by the shell.
        parked_row: Whether the newest row says that it is parked; kept by the shell.
        shown: Time, custom status and number of events of the last committed turn; kept by the shell.
    """

    __slots__ = (
        "_kept_seq",
        "_offer",
        "_orchestrator",
        "_steps",
        "_turn",
        "busy",
        "call",
        "created",
        "custom_status",
        "definition",
        "ended",
        "epoch",
        "events",
        "input_digest",
        "instance_id",
        "name",
        "now",
        "number",
        "older",
        "outstanding",
        "parent",
        "parent_key",
        "parked_row",
        "seq",
        "shown",
        "uncommitted",
    )

    def __init__(
        self,
        orchestrator: protocol.Orchestrator,
        *,
        number: int,
        instance_id: str,
        name: str,
        call: bytes,
        created: float,
        epoch: int,
        parent: str = "",
        parent_key: str = "",
        definition: bytes = b"",
        input_digest: bytes = b"",
    ) -> None:
        self.number = number
        self.instance_id = instance_id
        self.name = name
        self.call = call
        self.created = created
        self.now = created
        self.epoch = epoch
        self.parent = parent
        self.parent_key = parent_key
        self.definition = definition
        self.input_digest = input_digest
        self.custom_status: bytes | None = None
        self.outstanding: dict[str, Work] = {}
        self.seq = 0
        self.events = 0
        self.busy = 0
        self.older = 0
        self.ended: protocol.Ended | None = None
        self.uncommitted = 0
        self.parked_row = False
        self.shown: Shown | None = None
        self._orchestrator = orchestrator
        self._steps: protocol.Steps | None = None
        self._offer: _Offer | None = None
        self._kept_seq = 0
        self._turn = Turn(self)

    # What the orchestrator calls.

    def activity(self, key: str, name: str, call: Any) -> None:
        """Run an activity; lands as ``result`` or ``failure`` under ``key``."""
        self._schedule(Work("activity", key, self.epoch, name, call))
        self.busy += 1

    def child(self, key: str, name: str, instance_id: str, call: bytes) -> None:
        """Start a child; lands as ``result`` or ``failure`` under ``key``."""
        self._schedule(Work("child", key, self.epoch, name, call, child_id=instance_id))
        self.busy += 1

    def timer(self, key: str, fire_at: float) -> None:
        """Land a ``timer`` at this time (seconds since the epoch)."""
        self._schedule(Work("timer", key, self.epoch, fire_at=fire_at))

    def cancel(self, key: str) -> None:
        """Forget a timer or an activity."""
        work = self.outstanding.get(key)
        if work is not None:
            self._forget(work)
            self._turn.cancelled.append(work)

    def emit(self, event: bytes) -> None:
        """Append to the event log."""
        self._turn.emitted.append(event)

    def status(self, value: bytes | None) -> None:
        """Set the custom status."""
        self.custom_status = value

    def keep(self, state: Callable[[], bytes]) -> None:
        """Remember a state that a later life may start from."""
        self._offer = _Offer(self, state)

    # What the shell calls.

    def begin(self) -> Turn:
        """Run from the start to the first wait."""
        turn = self._step(lambda: self._orchestrator.begin(self, self.call), None)
        turn.first = True
        if turn.emitted:
            self._record(turn, records.START, "", None, 1)
        return self._close(turn)

    def land(self, kind: int, key: str, value: Any, data: bytes | None, time: float) -> Turn | None:
        """Send a landing, and record it; None if nobody waits for it any more.

        Args:
            kind: Index into ``records.KINDS``.
            key: What landed.
            value: What the orchestrator is sent.
            data: The same, encoded, for the record.
            time: Seconds since the epoch; never lets the instance's time run backwards.
        """
        attempt = 1
        if kind != records.EVENT:
            work = self.outstanding.get(key)
            if work is None:
                return None
            attempt = self.epoch - work.epoch + 1
            self._forget(work)
        if self.ended is not None:
            return None
        self.now = time = max(time, self.now)
        self.seq += 1
        turn = self._step(None, protocol.Landed(records.KINDS[kind], key, value, time))  # type: ignore[arg-type]  # never a start
        self._record(turn, kind, key, data, attempt)
        return self._close(turn)

    def land_child(self, key: str, ended: protocol.Ended, time: float) -> Turn | None:
        """Send how a child ended, and record it; None if nobody waits for it any more."""
        if key not in self.outstanding:
            return None
        if ended.failure is not None:
            return self.land(records.FAILURE, key, ended.failure, records.encode(ended.failure), time)
        try:
            value = None if ended.output is None else self._orchestrator.decode(ended.output)
        except Exception as error:
            return self._close(self._broken(error))
        return self.land(records.RESULT, key, value, ended.output, time)

    def terminate(self, reason: str, time: float, event: bytes | None = None) -> Turn:
        """End it from outside; the event, if there is one, is its last."""
        self.now = max(time, self.now)
        turn = self._turn = Turn(self)
        turn.status = "Terminated"
        if event is not None:
            self.seq += 1
            turn.emitted.append(event)
            self._record(turn, records.TERMINATION, "", None, 1)
        self._end(turn, protocol.Ended(failure=protocol.Failure("Terminated", reason)))
        return self._close(turn)

    def reopen(self, key: str, time: float) -> Turn | None:
        """Set a failed instance going again that was rebuilt from the state of just before; lands an event for it."""
        turn = self.land(records.EVENT, key, b"", b"", time)
        if turn is not None:
            # What was resumed starts with the commit that reopens it, not before.
            turn.scheduled = list(self.outstanding.values())
        return turn

    def rebuild(self, kept: records.Kept | None, rows: Iterable[records.Row], epoch: int) -> Turn | None:
        """Run again over what was recorded; afterwards ``outstanding`` is what is still to come.

        Nothing is emitted: what these turns emitted is in the rows. Gives a turn only if the instance ends in
        what was recorded as not its end, because the orchestrator has changed.
        """
        first = 0
        self.older = 1 << 30  # Unknown until the end; offers made meanwhile look for themselves.
        history = [(row, records.decode_record(row.record)) for row in rows]
        if kept is None:
            if history and history[0][1].kind == records.START:
                self.epoch = history[0][1].epoch
            self._step(lambda: self._orchestrator.begin(self, self.call), None)
        else:
            first = self.seq = self._kept_seq = kept.seq
            self.custom_status = kept.custom_status
            self.epoch = kept.epoch
            for row, record in history:
                if row.seq == first:
                    self.now = record.time
            state = kept.state
            self._step(lambda: self._orchestrator.resume(self, self.call, state), None)
            self._restore_epochs(records.decode_older(kept.older))
        for row, record in history:
            self.events = row.events
            if record.kind == records.START or row.seq <= first or self.ended is not None:
                continue
            self._replay(row.seq, record)
        self.epoch = epoch
        self.older = sum(work.epoch != epoch for work in self.outstanding.values())
        return self._close(self._turn) if self.ended is not None else None

    def leave(self) -> None:
        """Leave memory: closes the generator now, not whenever garbage is collected, and breaks the cycles."""
        self._close_steps()
        self._offer = None
        self._turn = _NO_TURN

    @property
    def parkable(self) -> bool:
        """Whether nothing but events and distant timers can move it."""
        if self.busy or self.ended is not None:
            return False
        if not self.outstanding:
            return True
        return min(work.fire_at for work in self.outstanding.values()) - self.now > STAY_FOR_TIMER_SECONDS

    def older_epochs(self) -> dict[str, int]:
        """Give the epochs of outstanding work that was scheduled before the present one."""
        return {key: work.epoch for key, work in self.outstanding.items() if work.epoch != self.epoch}

    def _schedule(self, work: Work) -> None:
        if work.key in self.outstanding:
            raise ValueError(f"The key {work.key!r} is in use by another {self.outstanding[work.key].kind}.")
        self.outstanding[work.key] = work
        self._turn.scheduled.append(work)

    def _forget(self, work: Work) -> None:
        del self.outstanding[work.key]
        if work.kind != "timer":
            self.busy -= 1
        if self.older and work.epoch != self.epoch:
            self.older -= 1

    def _step(self, open_steps: Callable[[], protocol.Steps] | None, landed: protocol.Landed | None) -> Turn:
        turn = self._turn = Turn(self)
        try:
            if open_steps is not None:
                self._steps = open_steps()
                next(self._steps)
            else:
                assert self._steps is not None and landed is not None
                self._steps.send(landed)
        except StopIteration as stop:
            self._end(turn, stop.value if isinstance(stop.value, protocol.Ended) else protocol.Ended())
        except Exception as error:
            self._end(turn, protocol.Ended(failure=tracebacks.failure(error)))
        return turn

    def _end(self, turn: Turn, ended: protocol.Ended) -> None:
        if turn.status == "Running":
            turn.status = "Completed" if ended.failure is None else "Failed"
        self.ended = turn.ended = ended
        turn.cancelled += self.outstanding.values()
        turn.scheduled.clear()
        self.outstanding = {}
        self.busy = self.older = 0
        self._close_steps()

    def _close_steps(self) -> None:
        steps, self._steps = self._steps, None
        if steps is None:
            return
        try:
            steps.close()
        except Exception:
            # The instance's fate is decided already; what its clean-up says cannot change it.
            log.exception("The orchestrator of %r raised while it was closed.", self.instance_id)

    def _record(self, turn: Turn, kind: int, key: str, data: bytes | None, attempt: int) -> None:
        self.events += len(turn.emitted)
        record = records.Record(self.now, kind, key, data, attempt, self.epoch, turn.emitted)
        turn.row = records.Row(self.number, self.seq, self.events, records.encode(record))

    def _close(self, turn: Turn) -> Turn:
        offer = self._offer
        if offer is not None and self.ended is None and self._worth_keeping(offer):
            try:
                turn.kept = self._take_offer(offer)
            except Exception as error:
                self._end(turn, protocol.Ended(failure=tracebacks.failure(error)))
        if turn.ended is not None and turn.ended.state is not None and turn.row is not None:
            state = turn.ended.state
            turn.kept = records.Kept(self.number, self.seq, self.epoch, records.encode({}), self.custom_status, state)
        turn.time = self.now
        turn.custom_status = self.custom_status
        return turn

    def _broken(self, error: Exception) -> Turn:
        turn = self._turn = Turn(self)
        self._end(turn, protocol.Ended(failure=tracebacks.failure(error)))
        return turn

    def _worth_keeping(self, offer: _Offer) -> bool:
        landings = offer.seq - self._kept_seq
        if landings >= KEEP_EVERY_LANDINGS:
            return True
        return landings >= KEEP_AT_PARKING_LANDINGS and self.parkable

    def _take_offer(self, offer: _Offer) -> records.Kept:
        state = offer.state()
        self._offer = None
        self._kept_seq = offer.seq
        older = records.encode(offer.older)
        return records.Kept(self.number, offer.seq, offer.epoch, older, offer.custom_status, state)

    def _replay(self, seq: int, record: records.Record) -> None:
        work = self.outstanding.get(record.key) if record.kind != records.EVENT else None
        if work is not None:
            self._forget(work)
        self.seq = seq
        self.now = record.time
        self.epoch = record.epoch
        value: Any = record.data
        if record.kind == records.RESULT and record.data is not None:
            try:
                value = self._orchestrator.decode(record.data)
            except Exception as error:
                self._broken(error)
                return
        elif record.kind == records.FAILURE and record.data is not None:
            value = records.decode_failure(record.data)
        kind = records.KINDS[record.kind]
        self._step(None, protocol.Landed(kind, record.key, value, record.time))  # type: ignore[arg-type]  # never a start

    def _restore_epochs(self, older: dict[str, int]) -> None:
        for key, epoch in older.items():
            if key in self.outstanding:
                self.outstanding[key].epoch = epoch
