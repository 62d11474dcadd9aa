"""What a client has seen of a run's events stays, whether it stood in the status or in the log."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

import pytest

from perdure.hosts.replay import life, log, wire
from perdure.payloads import records
from perdure.workflow import protocol

STEPS = 60


class Talks:
    """Emits some events of some size in each step, with some activities beside each other."""

    name = "talks"

    def __init__(self, seed: int, sizes: Sequence[int]) -> None:
        self._seed = seed
        self._sizes = sizes

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        return self._steps(host, 0)

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        return self._steps(host, int(state))

    def decode(self, data: bytes) -> bytes:
        return data

    def _steps(self, host: protocol.Host, first: int) -> protocol.Steps:
        for step in range(first, STEPS):
            draw = random.Random(self._seed * 1000 + step)
            for number in range(draw.randrange(4)):
                host.emit(b"%d.%d " % (step, number) + bytes(draw.choice(self._sizes)))
            host.keep(functools.partial(_state, step))
            many = draw.choice((0, 1, 1, 1, 3))
            for number in range(many):
                host.activity(f"{step}.{number}", "does", b"")
            if not many:
                host.timer(f"{step}", host.now + 1)
            for _ in range(max(many, 1)):
                yield
        return protocol.Ended(b"done")


class Engine:
    """Runs a life's turns, what is out in any order, and looks at the events after each of them."""

    def __init__(self, talks: Talks, seed: int) -> None:
        self._talks = talks
        self._draw = random.Random(seed)
        self.store = records.MemoryRecordStore()
        self.log = log.Log(self.store)
        self.activities = 0
        self.notes = 0
        self.seen: list[log.Event] = []
        self.reader = self.log.reader("a")
        self.followed: list[log.Event] = []
        self.status_bytes = 0

    async def run(self) -> None:
        start = wire.Start(b"")
        while True:
            living = life.Life(self._talks, "a", start, b"", 0.0)
            over = await self._live(living)
            living.close()
            if isinstance(over, wire.End):
                assert over.output == b"done"
                self._end = over
                return
            start = wire.unpack(wire.pack(over), wire.Start)

    async def _live(self, living: life.Life) -> wire.End | wire.Start:
        out: list[life.Order] = []
        turn = living.begin()
        while True:
            out += turn.orders
            end = turn.over if isinstance(turn.over, wire.End) else None
            told = (living.said.pages, living.said.next) if end is None else (end.pages, end.next)
            await self._look(told[0])
            await self._follow(told)
            self.status_bytes = max(self.status_bytes, len(wire.pack(living.said)))
            if turn.over is not None:
                return turn.over
            order = out.pop(self._draw.randrange(len(out)))
            if order.task is not None:
                self.activities += 1
                self.notes += order.work.role == "note"
                await self.log.write("a", order.task.pages)
                await self._look(living.said.pages)
            turn = living.land(order.serial, None if order.task is None else wire.Reply("result"))

    async def _look(self, pages: Sequence[wire.Page]) -> None:
        found = await self.log.read("a", 0, 1 << 30, pages)
        assert found[: len(self.seen)] == self.seen
        assert [event.id for event in found] == [*range(1, len(found) + 1)]
        self.seen = found

    async def _follow(self, told: tuple[Sequence[wire.Page], int]) -> None:
        """Look now and then, some at a time; and as somebody who comes back after some event."""
        if self._draw.random() < 0.5:
            self.followed += await self.reader.read(self._draw.choice((1, 7, 1000)), *told)
        after = self._draw.randrange(len(self.seen) + 1)
        back = self.log.reader("a", after)
        assert await back.read(1000, *told) == self.seen[after:]
        assert await back.read(1000, *told) == []

    async def follow_to_the_end(self) -> list[log.Event]:
        while found := await self.reader.read(7, self._end.pages):
            self.followed += found
        return self.followed

    def told(self) -> list[bytes]:
        return [event.data for event in self.seen]


def _state(step: int) -> bytes:
    return b"%d" % step


def _expected(seed: int, sizes: Sequence[int]) -> list[bytes]:
    told = []
    for step in range(STEPS):
        draw = random.Random(seed * 1000 + step)
        told += [b"%d.%d " % (step, number) + bytes(draw.choice(sizes)) for number in range(draw.randrange(4))]
    return told


@pytest.mark.parametrize("seed", range(40))
async def test_what_was_seen_stays_and_nothing_is_missing_at_the_end(seed: int) -> None:
    sizes = ((100,), (10, 300, 2000), (0, 9000), (60, 60, 60, 5000))[seed % 4]
    engine = Engine(Talks(seed, sizes), seed)
    await engine.run()
    assert engine.told() == _expected(seed, sizes)
    assert await engine.follow_to_the_end() == engine.seen


async def test_a_few_events_cost_neither_a_record_nor_an_activity() -> None:
    engine = Engine(Talks(1, (10,)), 1)
    await engine.run()
    assert not engine.notes
    written = await engine.store.names("a")
    assert len(written) <= 2 * len(b"".join(engine.told())) / life.SHOWN_BYTES + 1


async def test_the_status_does_not_grow_with_the_events_that_are_not_written_yet() -> None:
    engine = Engine(Talks(3, (9000,)), 3)
    await engine.run()
    assert engine.status_bytes < 2 * life.SHOWN_BYTES
