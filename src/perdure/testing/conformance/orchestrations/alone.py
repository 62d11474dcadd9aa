"""What only a host can promise that has all orchestrations, and all that runs them, in one process."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, encode
from perdure.workflow import protocol


class AloneSuite:
    """What only a host can promise that is alone: it knows who has what, and refuses in the same moment."""

    async def test_an_activity_starts_only_after_what_scheduled_it_is_recorded(self, bench: Bench) -> None:
        """What it goes by cannot be lost any more."""
        found: list[Any] = []

        async def look(call: Any) -> Any:
            found.append((await bench.emitted("a"), await bench.backend.status("a")))

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            for step in (b"one", b"two"):
                host.emit(step)
                host.status(step)
                host.activity(step.decode(), "look", None)
                yield
            return protocol.Ended(encode(None))

        bench.activity("look", look)
        bench.program("looking", program)
        await bench.begin("looking", "a")
        await bench.ended("a")
        assert found == [([b"one"], b"one"), ([b"one", b"two"], b"two")]

    async def test_an_activity_that_nobody_has_lands_as_a_failure(self, bench: Bench) -> None:
        """Its name is told."""
        bench.program("first", programs.first_landing(lambda host: host.activity("x", "nowhere", 1)))
        await bench.begin("first", "a")
        kind, key, message = await bench.output("a")
        assert (kind, key) == ("failure", "x")
        assert "nowhere" in message

    async def test_a_child_of_an_unknown_name_lands_as_a_failure(self, bench: Bench) -> None:
        """The name is told."""
        bench.program("parent", programs.parent)
        await bench.begin("parent", "a", b"nobody x")
        assert "nobody" in (await bench.failure("a")).message

    async def test_many_events_at_once_land_in_their_order(self, bench: Bench) -> None:
        """What comes after the end is refused."""
        bench.program("collecting", programs.collecting)
        await bench.begin("collecting", "a", b"50")
        sending = (bench.backend.raise_event("a", "go", b"%d" % number) for number in range(51))
        assert await asyncio.gather(*sending) == [True] * 50 + [False]
        assert [data for _, data in await bench.output("a")] == [b"%d" % number for number in range(50)]

    async def test_an_activity_that_is_cancelled_as_it_ends_does_not_land(self, bench: Bench) -> None:
        """Nor does it run again after a rebuild."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("slow", "slow", "slow")
            host.activity("quick", "quick", "quick")
            yield
            host.cancel("slow")
            host.cancel("quick")
            host.activity("next", "next", 2)
            keys = [(yield).key]
            keys.append((yield).key)
            return protocol.Ended(encode(keys))

        slow, quick, last = bench.gate("slow"), bench.gate("quick"), bench.gate("next")
        bench.program("fickle", program)
        await bench.begin("fickle", "a")
        await slow.enter()
        await quick.enter()
        quick.open.set()
        await bench.send("a")
        await last.enter()
        slow.open.set()
        await bench.rebuild()
        await last.enter()
        await bench.send("a", "still there")
        last.open.set()
        assert await bench.output("a") == ["still there", "next"]
        assert [key for _, key in bench.ran] == ["slow", "quick", "next", "next"]
