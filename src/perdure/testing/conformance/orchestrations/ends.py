"""How an orchestration begins and ends."""

from __future__ import annotations

import asyncio

import pytest

from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, encode
from perdure.workflow import protocol


class EndsSuite:
    """How an orchestration begins and ends."""

    async def test_an_orchestration_ends_with_its_output(self, bench: Bench) -> None:
        """What it returned is its output, before and after a rebuild."""
        bench.program("chain", programs.chain)
        assert await bench.begin("chain", "a", b"5")
        assert await bench.output("a") == 10
        await bench.rebuild()
        assert await bench.output("a") == 10

    async def test_an_orchestration_may_end_in_its_first_turn(self, bench: Bench) -> None:
        """It then waited for nothing."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.emit(b"all of it")
            host.status(b"done")
            yield from ()
            return protocol.Ended(encode(call))

        bench.program("short", program)
        await bench.begin("short", "a", b"in")
        assert await bench.output("a") == b"in"
        assert await bench.emitted("a") == [b"all of it"]
        assert await bench.backend.status("a") == b"done"

    async def test_an_id_begins_one_orchestration(self, bench: Bench) -> None:
        """The second begin is told so, whether the first has ended or not, and whatever it asks for."""
        bench.program("collecting", programs.collecting)
        bench.program("chain", programs.chain)
        assert await bench.begin("collecting", "a", b"1")
        assert not await bench.begin("chain", "a", b"1")
        await bench.rebuild()
        assert not await bench.begin("collecting", "a", b"2")
        await bench.send("a", "go", b"x")
        assert await bench.output("a") == [["go", b"x"]]
        assert not await bench.begin("collecting", "a", b"1")

    async def test_begins_of_one_id_at_once_agree(self, bench: Bench) -> None:
        """Exactly one of them is new."""
        bench.program("chain", programs.chain)
        await bench.begin("chain", "first", b"0")
        begun = await asyncio.gather(*(bench.begin("chain", "a", b"3") for _ in range(8)))
        assert begun.count(True) == 1
        assert await bench.output("a") == 3
        assert len(bench.ran) == 3

    async def test_it_knows_its_id_and_its_call(self, bench: Bench) -> None:
        """Empty and large calls included."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("one", "same", 1)
            yield
            return protocol.Ended(encode([host.instance_id, call]))

        bench.program("knowing", program)
        for instance_id, call in (("a", b""), ("b", b"x" * 200_000)):
            await bench.begin("knowing", instance_id, call)
            assert await bench.output(instance_id) == [instance_id, call]

    async def test_a_wait_that_runs_out_gives_nothing(self, bench: Bench) -> None:
        """Only the end is an answer."""
        bench.program("collecting", programs.collecting)
        await bench.begin("collecting", "a", b"1")
        assert await bench.backend.wait("a", 0.01) is None
        assert await bench.backend.wait("nobody", 0.01) is None

    async def test_a_returned_failure_is_how_it_ends(self, bench: Bench) -> None:
        """Word for word, after a rebuild too."""
        failure = protocol.Failure("Mine", "in my words", "at my place")

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            yield
            return protocol.Ended(failure=failure)

        bench.program("failing", program)
        await bench.begin("failing", "a")
        await bench.send("a")
        assert await bench.failure("a") == failure
        await bench.rebuild()
        assert await bench.failure("a") == failure

    @pytest.mark.parametrize("turns", [0, 1])
    async def test_an_orchestrator_that_raises_fails_its_instance_only(self, bench: Bench, turns: int) -> None:
        """In its first turn or later; those beside it go on."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.emit(b"before")
            for _ in range(turns):
                yield
            raise KeyError("lost")

        bench.program("raising", program)
        bench.program("collecting", programs.collecting)
        await bench.begin("collecting", "beside", b"1")
        await bench.begin("raising", "a")
        for _ in range(turns):
            await bench.send("a")
        failure = await bench.failure("a")
        assert (failure.type, failure.message) == ("KeyError", "'lost'")
        assert await bench.emitted("a") == [b"before"]
        await bench.send("beside", "go", b"x")
        assert await bench.output("beside") == [["go", b"x"]]

    async def test_the_end_takes_back_what_still_runs(self, bench: Bench) -> None:
        """Whatever its activities give then, and whatever its timers and children do, the end stays as it is."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("slow", "gate", 1)
            host.timer("late", host.now + 0.1)
            host.child("kid", "collecting", "kid", b"1")
            yield
            return protocol.Ended(encode("done"))

        gate = bench.gate()
        bench.program("hasty", program)
        bench.program("collecting", programs.collecting)
        await bench.begin("hasty", "a")
        await gate.enter()
        await bench.send("a")
        assert await bench.output("a") == "done"
        gate.open.set()
        await bench.backend.raise_event("kid", "go", b"")
        await bench.rebuild()
        assert await bench.output("a") == "done"
        assert bench.ran == [("a", "slow")]

    async def test_many_orchestrations_run_beside_each_other(self, bench: Bench) -> None:
        """Each on its own landings."""
        bench.program("chain", programs.chain)
        await bench.begin("chain", "a0", b"0")
        await asyncio.gather(*(bench.begin("chain", f"a{number}", b"%d" % number) for number in range(1, 30)))
        for number in range(30):
            assert await bench.output(f"a{number}") == sum(range(number))
            assert await bench.emitted(f"a{number}") == [b"%d" % step for step in range(number)]
