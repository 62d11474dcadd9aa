"""One life of an orchestration: what it asks of the engine, turn by turn. Pure; a replay gives the same turns.

An engine that replays runs an orchestrator again over its history whenever something lands. So that a history stays
short, an orchestration has many lives: at a state that the orchestrator offers to keep it continues as new from there.
Its events stand in its status while they are few: that costs nothing. Then they are cut into pages, which travel with
the activities that are scheduled next; those write them to the run's log. Only where no activity is due a page takes
one of its own, a note. What has stood in the status stays there until it is in the log: nobody sees it go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from perdure import tracebacks
from perdure.hosts.replay import tail, wire
from perdure.workflow import attempts, protocol

KEEP_EVERY_LANDINGS: Final = 12
"""A life that has seen so many ends at the next state that is offered: replays stay short, and so do histories."""

LIFE_BYTES: Final = 8 * 1024
"""About so much a life's activities are given and give, where a step has a lot: each of its turns is sent all of it."""

FEWEST_LANDINGS: Final = 2

SHOWN_BYTES: Final = 2048
"""Events up to this size stand in the status; it travels with every turn."""

CARRIED_BYTES: Final = 2 * tail.PAGE_BYTES
"""Pages up to this size travel with one activity."""

TAIL_BYTES: Final = 16 * 1024
"""Events up to this size may travel with the end of a life; more are written to the log first."""

STATE_BYTES: Final = 512 * 1024
"""A larger state is no start of a new life: the engine would not take it. A smaller one will come."""

LONGEST_HOLD_SECONDS: Final = 60.0
AWAITED: Final = 16
"""So many of the activities that are out are named."""

Role = Literal["activity", "child", "timer", "note"]


class Work(NamedTuple):
    """What is to be done: what an orchestrator asked for, or a note to the log."""

    role: Role
    key: str
    name: str = ""
    call: Any = None
    child_id: str = ""
    fire_at: float = 0.0


class Order(NamedTuple):
    """One thing that the engine is to schedule.

    Attributes:
        serial: Under which its landing is told; unique within the life.
        work: What. A timer may be one before an activity is tried again.
        task: The input of an activity or a note.
    """

    serial: int
    work: Work
    task: wire.Task | None = None


class Turn(NamedTuple):
    """What the engine is to do after a landing.

    Attributes:
        orders: What to schedule, in this order.
        dropped: Serials of what nobody waits for any more.
        over: How the orchestration ended, or the next life's start; None while this life goes on.
    """

    orders: tuple[Order, ...] = ()
    dropped: tuple[int, ...] = ()
    over: wire.End | wire.Start | None = None


class _Out:
    """Something scheduled that has not landed, with the pages that it carries."""

    __slots__ = ("asleep", "end", "holds", "pages", "serial", "work")

    def __init__(self, work: Work, pages: tuple[wire.Page, ...] = (), end: wire.End | None = None) -> None:
        self.work = work
        self.pages = pages
        self.end = end
        self.serial = 0
        self.holds = 0
        self.asleep = False


class _Kept(NamedTuple):
    """A state that was offered, and what else was true then."""

    state: Callable[[], bytes]
    status: bytes | None
    busy: bool


class Life:
    """One life, as the ``protocol.Host`` of its orchestrator.

    Args:
        orchestrator: What runs.
        instance_id: The orchestration's id.
        start: The input of this life.
        call: What the orchestration was started with.
        now: Seconds since the epoch.
        shown_bytes: Events up to this size stand in the status; 0 where a record costs less than what the status takes
            with it in every turn.

    Attributes:
        now: See :class:`protocol.Host`; the driver moves it on before each landing.
        held: Why something that is out is not done but tried again in a while; empty if nothing is held.
    """

    def __init__(
        self,
        orchestrator: protocol.Orchestrator,
        instance_id: str,
        start: wire.Start,
        call: bytes,
        now: float,
        *,
        shown_bytes: int = SHOWN_BYTES,
    ) -> None:
        self._orchestrator = orchestrator
        self._id = instance_id
        self._start = start
        self._call = call
        self.now = max(now, start.now)
        self.held = ""
        self._steps: protocol.Steps | None = None
        self._status = start.status
        self._landings = 0
        self._weight = 0
        self._serial = 0
        self._keyed: dict[str, _Out] = {}
        self._out: dict[int, _Out] = {}
        self._fresh: list[_Out] = []
        self._dropped: list[int] = []
        self._tail = tail.Tail(start, shown_bytes)
        self._kept: _Kept | None = None
        self._closing: _Kept | protocol.Ended | None = None
        self._left = False
        self._heard: list[wire.Heard] = []

    # The driver's side.

    @property
    def custom_status(self) -> bytes | None:
        """The custom status."""
        return self._status

    @property
    def said(self) -> wire.Status:
        """What the orchestration says of itself."""
        names = {out.work.name: None for out in self._out.values() if out.work.role == "activity"}
        return wire.Status(
            self._status,
            self.held,
            tuple(names)[:AWAITED],
            self._tail.shown,
            self._tail.following,
            self._start.incarnation,
        )

    def move(self, now: float) -> None:
        """Move the time on; it does not run backwards."""
        self.now = max(self.now, now)

    def begin(self) -> Turn:
        """Run to the first wait."""
        state = self._start.state
        if state is None:
            self._steps = self._orchestrator.begin(self, self._call)
        else:
            self._steps = self._orchestrator.resume(self, self._call, state)
        self._step(None)
        if state is not None:
            # The life before told it in the turn in which the state was offered.
            self._tail.forget_emitted()
        for heard in self._start.heard:
            self._step(protocol.Landed("event", heard.name, heard.data, self.now))
        return self._turn()

    def hear(self, heard: wire.Heard) -> Turn:
        """Take in an event; one that is late, and was for another that had the id, is none."""
        if heard.incarnation not in ("", self._start.incarnation):
            return Turn()
        if self._closing is not None:
            self._heard.append(heard)
            return Turn()
        self._landings += 1
        self._step(protocol.Landed("event", heard.name, heard.data, self.now))
        return self._turn()

    def land(self, serial: int, reply: wire.Reply | wire.End | None) -> Turn:
        """Take in what became of an order: an activity's reply, how a child ended, or None for a timer that fired."""
        out = self._out.pop(serial, None)
        if out is None:
            return Turn()
        if out.asleep:
            out.asleep = False
            return self._give([self._order(out)])
        if isinstance(reply, wire.Reply) and (reply.kind == "held" or (out.work.role == "note" and reply.failure)):
            return self._hold(out, reply)
        self.held = ""
        if out.work.role != "note" and self._closing is None:
            self._keyed.pop(out.work.key, None)
            self._landings += 1
            self._weight += len(reply.data) if isinstance(reply, wire.Reply) else 0
            self._step(self._landed(out.work.key, reply))
        return self._turn()

    def close(self) -> None:
        """Let go of the orchestrator."""
        steps, self._steps = self._steps, None
        self._closing = self._closing or protocol.Ended()
        if steps is not None:
            steps.close()

    def _landed(self, key: str, reply: wire.Reply | wire.End | None) -> protocol.Landed | Exception:
        if reply is None:
            return protocol.Landed("timer", key, None, self.now)
        if reply.failure is not None:
            return protocol.Landed("failure", key, reply.failure, self.now)
        data = reply.data if isinstance(reply, wire.Reply) else reply.output
        try:
            value = None if data is None else self._orchestrator.decode(data)
        except Exception as error:
            return error
        return protocol.Landed("result", key, value, self.now)

    def _step(self, landed: protocol.Landed | Exception | None) -> None:
        if self._closing is not None or self._steps is None:
            return
        try:
            if landed is None:
                next(self._steps)
            elif isinstance(landed, Exception):
                raise landed
            else:
                self._steps.send(landed)
        except StopIteration as stop:
            self._closing = stop.value if isinstance(stop.value, protocol.Ended) else protocol.Ended()
        except Exception as error:
            self._closing = protocol.Ended(failure=tracebacks.failure(error))

    # What a turn gives.

    def _turn(self) -> Turn:
        if self._closing is None and self._kept is not None and self._is_due(self._kept):
            # What was scheduled after the offer, the next life schedules again.
            self._closing = self._kept
            self._status = self._kept.status
        if self._closing is not None:
            return self._close(self._closing)
        fresh = [out for out in self._fresh if self._keyed.get(out.work.key) is out]
        carriers = [out for out in fresh if out.work.role == "activity"]
        if self._tail.is_long and (carriers or not self._noting):
            left = _load(carriers, self._tail.cut())
            fresh += [_note(page) for page in left]
        # Timers that are overdue as they are set land in the order of their times.
        fresh.sort(key=lambda out: out.work.fire_at)
        return self._give([self._order(out) for out in fresh])

    def _is_due(self, kept: _Kept) -> bool:
        if kept.busy or self._landings < (self._start.landings or KEEP_EVERY_LANDINGS):
            return False
        return len(kept.state()) <= STATE_BYTES

    def _close(self, closing: _Kept | protocol.Ended) -> Turn:
        """End this life, once what it told is in the log or travels on."""
        if self._noting:
            return self._give([])
        carried = self._carried
        failed = isinstance(closing, protocol.Ended) and closing.failure is not None and not self._start.child
        if (failed and not self._left) or sum(map(tail.size, carried)) + self._tail.waiting_bytes > TAIL_BYTES:
            notes = [_note(page) for page in (*carried, *self._tail.cut())]
            if failed and isinstance(closing, protocol.Ended):
                self._left = True
                notes.append(_Out(_NOTE, end=wire.End(None, closing.failure, closing.state, next=self._tail.next)))
            for out in self._out.values():
                out.pages = ()
            return self._give([self._order(out) for out in notes])
        if isinstance(closing, protocol.Ended):
            pages = (*carried, *self._tail.cut())
            return self._give([], wire.End(closing.output, closing.failure, None, pages, self._tail.next))
        self._tail.show(carried)
        return self._give([], self._following(closing, (*carried, *self._tail.pages)))

    def _following(self, kept: _Kept, pages: tuple[wire.Page, ...]) -> wire.Start:
        return msgspec.structs.replace(
            self._start,
            state=kept.state(),
            next=self._tail.next,
            pages=pages,
            heard=tuple(self._heard),
            status=kept.status,
            now=self.now,
            landings=min(
                KEEP_EVERY_LANDINGS, max(FEWEST_LANDINGS, LIFE_BYTES * self._landings // max(self._weight, 1))
            ),
            shown=self._tail.shown_to,
            told=self._tail.uncut,
        )

    def _give(self, orders: list[Order], over: wire.End | wire.Start | None = None) -> Turn:
        if over is None:
            self._tail.show(self._carried)
        elif isinstance(over, wire.End):
            # What it leaves has them.
            self._tail.shown = ()
        turn = Turn(tuple(orders), tuple(self._dropped), over)
        self._dropped.clear()
        self._fresh.clear()
        self._kept = None
        return turn

    def _order(self, out: _Out) -> Order:
        self._serial += 1
        out.serial = self._serial
        self._out[out.serial] = out
        work = out.work
        if work.role == "note":
            note = wire.Task(work.key, b"", out.pages, out.end, incarnation=self._start.incarnation)
            return Order(out.serial, work, note)
        if work.role != "activity":
            return Order(out.serial, work)
        timer = self._keyed.get(f"{attempts.TIMEOUT}/{work.key}")
        patience = 0.0 if timer is None else max(timer.work.fire_at - self.now, 0.0)
        call = wire.encode_call(work.call)
        self._weight += len(call) + sum(map(tail.size, out.pages))
        task = wire.Task(work.key, call, out.pages, None, patience, self._start.incarnation)
        return Order(out.serial, work, task)

    def _hold(self, out: _Out, reply: wire.Reply) -> Turn:
        """Try again in a while what a worker, or the store, could not do."""
        self.held = "" if reply.failure is None else reply.failure.message
        if self._closing is not None and out.work.role != "note":
            self._tail.give_back(out.pages)
            return self._turn()
        wait = min(2.0**out.holds, LONGEST_HOLD_SECONDS)
        out.holds = min(out.holds + 1, 16)
        out.asleep = True
        self._serial += 1
        out.serial = self._serial
        self._out[out.serial] = out
        return self._give([Order(out.serial, Work("timer", out.work.key, fire_at=self.now + wait))])

    @property
    def _noting(self) -> bool:
        return any(out.work.role == "note" for out in self._out.values())

    @property
    def _carried(self) -> list[wire.Page]:
        """The pages that are on their way to the log."""
        return [page for out in self._out.values() for page in out.pages]

    # What the orchestrator calls.

    @property
    def instance_id(self) -> str:
        """The id of the orchestration."""
        return self._id

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
        out = self._keyed.pop(key, None)
        if out is None or self._closing is not None or self._out.pop(out.serial, None) is None:
            return
        self._dropped.append(out.serial)
        # Whether it has written them nobody is told any more.
        self._tail.give_back(out.pages)

    def emit(self, event: bytes) -> None:
        """Append an event."""
        if self._closing is None:
            self._tail.emit(self.now, event)

    def status(self, value: bytes | None) -> None:
        """Set the custom status."""
        if self._closing is None:
            self._status = value

    def keep(self, state: Callable[[], bytes]) -> None:
        """Offer a state to begin the next life from."""
        # What the engine has not been given yet is none of this life's: the next one schedules it, as it does all.
        busy = any(out.serial and out.work.role in ("activity", "child") for out in self._keyed.values())
        self._kept = _Kept(state, self._status, busy)

    def _schedule(self, work: Work) -> None:
        if self._closing is not None:
            return
        if work.key in self._keyed:
            raise ValueError(f"The key {work.key!r} is in use by another {self._keyed[work.key].work.role}.")
        out = self._keyed[work.key] = _Out(work)
        self._fresh.append(out)


_NOTE: Final = Work("note", "", wire.NOTE)


def _note(page: wire.Page) -> _Out:
    return _Out(_NOTE, (page,))


def _load(carriers: list[_Out], pages: list[wire.Page]) -> list[wire.Page]:
    """Give pages to activities; gives back those that none of them has room for."""
    for out in carriers:
        room = CARRIED_BYTES
        while pages and (not out.pages or tail.size(pages[0]) <= room):
            room -= tail.size(pages[0])
            out.pages += (pages.pop(0),)
    return pages
