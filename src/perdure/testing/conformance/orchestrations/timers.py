"""When timers land."""

from __future__ import annotations

import asyncio
import itertools
import time

from perdure.testing.conformance.orchestrations.bench import Bench, encode
from perdure.workflow import protocol


class TimersSuite:
    """When timers land."""

    async def test_timers_land_in_the_order_of_their_times_and_none_too_early(self, bench: Bench) -> None:
        """Whatever the order in which they were set; not by this clock nor by the host's."""
        late: list[float] = []

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            after = {"c": 0.15, "a": 0.05, "b": 0.1, "past": -5.0}
            due = {key: host.now + seconds for key, seconds in after.items()}
            for key, at in due.items():
                host.timer(key, at)
            keys = []
            for _ in due:
                landed = yield
                assert (landed.kind, landed.value) == ("timer", None)
                assert host.now == landed.time
                late.extend((landed.time - due[landed.key], time.time() - due[landed.key]))
                keys.append(landed.key)
            return protocol.Ended(encode(keys))

        bench.program("timers", program)
        await bench.begin("timers", "a")
        assert await bench.output("a") == ["past", "a", "b", "c"]
        assert min(late) >= 0

    async def test_a_timer_counts_on_while_the_host_is_down(self, bench: Bench) -> None:
        """It is neither lost nor set anew; overdue ones land in the order of their times."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            began = host.now
            for key, seconds in (("b", 0.2), ("a", 0.1), ("c", 0.5)):
                host.timer(key, began + seconds)
            keys = []
            for _ in range(3):
                keys.append((yield).key)
            return protocol.Ended(encode([keys, host.now - began]))

        bench.program("timers", program)
        await bench.begin("timers", "a")
        began = time.time()
        await bench.backend.stop()
        # Until two of them are due: while the host is down there is nobody to tell.
        await asyncio.sleep(began + 0.25 - time.time())
        await bench.backend.start()
        keys, seconds = await bench.output("a")
        assert keys == ["a", "b", "c"]
        assert seconds >= 0.5

    async def test_a_timer_that_landed_does_not_land_again(self, bench: Bench) -> None:
        """Its landing is recorded like any other."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.timer("t", host.now + 0.02)
            first = yield
            host.activity("gate", "gate", 1)
            second = yield
            return protocol.Ended(encode([first.key, second.key]))

        gate = bench.gate()
        bench.program("timed", program)
        await bench.begin("timed", "a")
        await gate.enter()
        await bench.rebuild()
        gate.open.set()
        assert await bench.output("a") == ["t", "gate"]

    async def test_a_deadline_ends_the_wait_for_an_activity(self, bench: Bench) -> None:
        """Whichever lands first counts; the other is taken back."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("slow", "gate", 1)
            host.timer("deadline", host.now + 0.05)
            landed = yield
            host.cancel("slow")
            host.activity("after", "same", 1)
            after = yield
            return protocol.Ended(encode([landed.kind, landed.key, after.key]))

        bench.gate()
        bench.program("deadline", program)
        await bench.begin("deadline", "a")
        assert await bench.output("a") == ["timer", "deadline", "after"]

    async def test_a_key_may_be_timed_again_once_it_has_landed(self, bench: Bench) -> None:
        """A clock that ticks."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            times = []
            for _ in range(5):
                host.timer("tick", host.now + 0.01)
                times.append((yield).time)
            return protocol.Ended(encode(times))

        bench.program("ticking", program)
        await bench.begin("ticking", "a")
        times = await bench.output("a")
        assert all(later >= earlier + 0.01 for earlier, later in itertools.pairwise(times))

    async def test_time_never_runs_backwards(self, bench: Bench) -> None:
        """``now`` is the time of the last landing or of the start, the same in every life."""
        lives: list[list[float]] = []

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            times = [host.now]
            lives.append(times)
            for step in range(5):
                host.activity(f"s{step}", "same", step)
                assert (yield).time == host.now
                times.append(host.now)
            host.activity("gate", "gate", 1)
            yield
            return protocol.Ended(encode(None))

        began = time.time()
        gate = bench.gate()
        bench.program("clock", program)
        await bench.begin("clock", "a")
        await gate.enter()
        await bench.rebuild()
        gate.open.set()
        await bench.ended("a")
        assert len(lives) > 1
        assert all(times == lives[-1][: len(times)] for times in lives)
        assert [began, *lives[-1]] == sorted([began, *lives[-1]])
