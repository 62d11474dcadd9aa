"""An engine in memory on which orchestrations live as on engines that replay: short lives, records, and texts between.

What Azure Functions and workers of a scheduler have in common is here as it is there; their SDKs are not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from perdure.hosts.replay import activities, life, log, wire
from perdure.payloads import records, store
from perdure.testing import memory_engine
from perdure.workflow import protocol


class LivedEngine(memory_engine.MemoryEngine):
    """The in-memory engine, of an orchestrator that has lives.

    Args:
        orchestrator: The orchestrator.
        work: Its activities.
        payloads: Where the payloads of results go.
        landings: After how many landings a life ends; 0 for what is usual.
        rebuild_every: See the engine.
        on_turn: See the engine.
    """

    def __init__(
        self,
        orchestrator: protocol.Orchestrator,
        work: Mapping[str, protocol.Activity],
        payloads: store.PayloadStore,
        *,
        landings: int,
        rebuild_every: int,
        on_turn: Callable[[str], None],
    ) -> None:
        kept = records.MemoryRecordStore()
        self._log = log.Log(kept)
        self._lived = _Lived(orchestrator, landings)
        super().__init__(
            {orchestrator.name: self._lived},
            _Work(activities.Activities(work, payloads, kept)),
            payloads=payloads,
            rebuild_every=rebuild_every,
            on_turn=on_turn,
        )

    async def told(self, run: str) -> list[bytes]:
        """Give the events of a run that has ended."""
        return [event.data for event in await self._log.read(run, 0, 1 << 30, self._lived.tails[run])]


class _Lived:
    """An orchestrator as the lives of another."""

    def __init__(self, inner: protocol.Orchestrator, landings: int) -> None:
        self.name = inner.name
        self.tails: dict[str, tuple[wire.Page, ...]] = {}
        self._inner = inner
        self._landings = landings

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        start = wire.Start(call)
        number = 0
        while True:
            over = yield from self._live(host, start, f"{number} ")
            if isinstance(over, wire.End):
                self.tails[host.instance_id] = over.pages
                return protocol.Ended(over.output, over.failure)
            start, number = over, number + 1

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        raise AssertionError("No state is offered.")

    def decode(self, data: bytes) -> wire.Reply:
        return wire.decode(data, wire.Reply)

    def _live(self, host: protocol.Host, start: wire.Start, prefix: str) -> protocol.Stepping[wire.Start | wire.End]:
        if self._landings:
            start = msgspec.structs.replace(start, landings=self._landings)
        start = wire.unpack(wire.pack(start), wire.Start)
        living = life.Life(self._inner, host.instance_id, start, start.call, host.now)
        out: set[str] = set()
        try:
            turn = living.begin()
            while True:
                for serial in turn.dropped:
                    out.discard(f"{prefix}{serial}")
                    host.cancel(f"{prefix}{serial}")
                for order in turn.orders:
                    out.add(f"{prefix}{order.serial}")
                    _schedule(host, f"{prefix}{order.serial}", order)
                host.status(living.custom_status)
                if turn.over is not None:
                    for key in out:
                        host.cancel(key)
                    return turn.over
                turn = self._land(living, out, prefix, (yield))
        finally:
            living.close()

    def _land(self, living: life.Life, out: set[str], prefix: str, landed: protocol.Landed) -> life.Turn:
        living.move(landed.time)
        if landed.kind == "event":
            return living.hear(wire.Heard(landed.key, landed.value))
        out.discard(landed.key)
        return living.land(int(landed.key.removeprefix(prefix)), landed.value)


def _schedule(host: protocol.Host, key: str, order: life.Order) -> None:
    if order.work.role == "timer":
        host.timer(key, order.work.fire_at)
    else:
        assert order.task is not None, "a workflow has no children"
        host.activity(key, order.work.name, wire.pack(order.task))


class _Work(Mapping[str, protocol.Activity]):
    """Activities that take and give what travels."""

    def __init__(self, performing: activities.Activities) -> None:
        self._performing = performing

    def __getitem__(self, name: str) -> protocol.Activity:
        return functools.partial(self._act, name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    async def _act(self, name: str, instance_id: str, key: str, call: Any) -> protocol.Outcome:
        reply = await self._performing(instance_id, name, wire.unpack(call, wire.Task))
        data = wire.encode(reply)
        return protocol.Outcome(wire.decode(data, wire.Reply), data)
