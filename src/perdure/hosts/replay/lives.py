"""Lives that stay in memory between their turns: a replay then looks up what it once worked out.

What is looked up holds only for the same landing at the same time; where a history turns out to be another one, the
life is worked out anew.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from perdure.hosts.replay import life, wire
from perdure.workflow import protocol

AT_HAND: Final = 512
"""How many lives a process keeps between their turns."""

TURN_SECONDS: Final = 5.0
"""How long a turn that is under way is waited for when all lives are let go of."""


class Landing(NamedTuple):
    """Something that landed, as the engine has it.

    Attributes:
        serial: Of the order; None for an event.
        role: What the order was.
        text: The result, or the event; None for a timer.
        failure: Why the engine says that it failed.
        held: Whether the failure is that nobody could be found to do it.
        now: When, seconds since the epoch.
    """

    serial: int | None
    role: life.Role | None
    text: str | None
    failure: protocol.Failure | None
    held: bool
    now: float


class _Done(NamedTuple):
    landing: Landing | None
    now: float
    turn: life.Turn
    said: wire.Status


class Replayed:
    """A life that is run again over its history for each turn.

    Args:
        make: Makes the life, at a time.

    Attributes:
        said: What the orchestration says of itself.
        over: Whether the life is over.
        ended: Whether the orchestration has ended with it.
        worked_out: What a driver has made of the turns, and finds again in a replay; kept as long as they are.
    """

    def __init__(self, make: Callable[[float], life.Life]) -> None:
        self._make = make
        self._life: life.Life | None = None
        self._done: list[_Done] = []
        self._place = 0
        self.said = wire.Status()
        self.over = False
        self.ended = False
        self.worked_out: dict[Hashable, Any] = {}

    @property
    def place(self) -> int:
        """How many landings of this life have been taken in, of those that a replay goes through."""
        return self._place

    def begin(self, now: float) -> life.Turn:
        """Begin a turn's replay; gives what the life asked for first."""
        self._place = 0
        if not self._done or self._done[0].now != now:
            self._restart(now)
        return self._next()

    def take(self, landing: Landing) -> life.Turn:
        """Take in what landed next."""
        if self._place < len(self._done):
            if self._done[self._place].landing == landing:
                return self._next()
            # Another history than the one that was worked out: from here on it is done anew.
            before = self._done[: self._place]
            self._restart(before[0].now)
            for done in before[1:]:
                assert done.landing is not None
                self._work_out(done.landing)
        self._work_out(landing)
        self._place = len(self._done) - 1
        return self._next()

    def close(self) -> None:
        """Let go of the life."""
        if self._life is not None:
            self._life.close()

    def _next(self) -> life.Turn:
        done = self._done[self._place]
        self._place += 1
        self.said = done.said
        self.over = done.turn.over is not None
        self.ended = isinstance(done.turn.over, wire.End)
        return done.turn

    def _restart(self, now: float) -> None:
        self.close()
        self.worked_out.clear()
        self._life = made = self._make(now)
        turn = made.begin()
        self._done = [_Done(None, now, turn, made.said)]

    def _work_out(self, landing: Landing) -> None:
        living = self._life
        assert living is not None
        living.move(landing.now)
        if landing.serial is None:
            turn = living.hear(wire.unpack(landing.text or "", wire.Heard))
        else:
            turn = living.land(landing.serial, _reply(landing))
        self._done.append(_Done(landing, landing.now, turn, living.said))


class Kept(Protocol):
    """What a process keeps of an orchestration between two turns."""

    @property
    def over(self) -> bool:
        """Whether no turn can follow."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


K = TypeVar("K", bound=Kept)


class Lives(Generic[K]):
    """The lives that a process keeps between their turns. For several threads; a life is with one of them at a time."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._kept: collections.OrderedDict[Hashable, K] = collections.OrderedDict()
        self._taken = 0
        self._closed = False

    def take(self, key: Hashable) -> K | None:
        """Give the life that was put here last; it, or another in its place, is to be put back."""
        with self._change:
            self._taken += 1
            return self._kept.pop(key, None)

    def put(self, key: Hashable, living: K) -> None:
        """Keep a life until its next turn; one that is over is let go of."""
        gone = [living]
        with self._change:
            if not living.over and not self._closed:
                # Two turns of one orchestration at once are none, but a scheduler may think that a worker is dead.
                gone = [self._kept.pop(key)] if key in self._kept else []
                self._kept[key] = living
                if len(self._kept) > AT_HAND:
                    gone.append(self._kept.popitem(last=False)[1])
        for other in gone:
            other.close()
        with self._change:
            self._taken -= 1
            self._change.notify_all()

    def close(self) -> None:
        """Let go of all, and of those whose turn is under way when it is over; waits for that."""
        with self._change:
            self._closed = True
            left = list(self._kept.values())
            self._kept.clear()
        for living in left:
            living.close()
        with self._change:
            self._change.wait_for(lambda: not self._taken, TURN_SECONDS)


Replays = Lives[Replayed]
"""Lives that are run again for each turn."""


def _reply(landing: Landing) -> wire.Reply | wire.End | None:
    if landing.failure is not None:
        return wire.Reply("held" if landing.held else "failure", failure=landing.failure)
    if landing.role == "timer" or landing.text is None:
        return None
    if landing.role == "child":
        return wire.unpack(landing.text, wire.End)
    return wire.unpack(landing.text, wire.Reply)
