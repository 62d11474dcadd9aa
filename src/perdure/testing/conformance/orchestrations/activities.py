"""What becomes of activities."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.payloads import refs
from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, Notes, encode
from perdure.workflow import protocol


class ActivitiesSuite:
    """What becomes of activities."""

    async def test_landings_come_in_the_order_in_which_they_were_recorded(self, bench: Bench) -> None:
        """One at a time; the host's time is that of the landing."""
        seen = Notes()

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            seen.clear()  # Another life sees it all again.
            for key in "abc":
                host.activity(key, f"gate {key}", key)
            for _ in range(4):
                landed = yield
                assert host.now == landed.time
                seen.note(landed)
            return protocol.Ended(encode([landed.key for landed in seen]))

        gates = {key: bench.gate(f"gate {key}") for key in "abc"}
        bench.program("fan", program)
        await bench.begin("fan", "a")
        for count, key in enumerate("cab", 1):
            gates[key].open.set()
            await seen.upto(count)
        await bench.send("a", "go")
        assert await bench.output("a") == ["c", "a", "b", "go"]
        times = [landed.time for landed in seen]
        assert times == sorted(times)

    async def test_a_rebuilt_orchestrator_is_sent_what_was_recorded(self, bench: Bench) -> None:
        """Kinds, keys, values and times are the same in each of its lives, as far as it gets."""
        lives: list[list[Any]] = []
        gate = bench.gate()

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            seen: list[Any] = [host.now]
            lives.append(seen)
            for number in range(10):
                host.activity(f"p{number}", "same", {"number": [number, "ü", b"\x00", None]})
            host.activity("bad", "refuse", "this")
            host.timer("now", host.now)
            for _ in range(12):
                seen.append((yield))
            host.activity("gate", "gate", 1)
            yield
            return protocol.Ended(encode("done"))

        bench.activity("refuse", programs.refuse)
        bench.program("mixed", program)
        await bench.begin("mixed", "a")
        await gate.enter()
        await bench.rebuild()
        gate.open.set()
        assert await bench.output("a") == "done"
        assert len(lives) > 1
        assert len({landed.key for landed in lives[-1][1:]}) == 12
        assert all(seen == lives[-1][: len(seen)] for seen in lives)

    async def test_what_was_recorded_never_runs_again(self, bench: Bench) -> None:
        """Only what was in flight does."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            for step in range(3):
                host.activity(f"s{step}", "same", step)
                yield
                host.activity(f"g{step}", f"gate {step}", step)
                yield
            return protocol.Ended(encode("done"))

        gates = [bench.gate(f"gate {step}") for step in range(3)]
        bench.program("steps", program)
        await bench.begin("steps", "a")
        for gate in gates:
            await gate.enter()
            await bench.rebuild()
            gate.open.set()
        assert await bench.output("a") == "done"
        assert [key for _, key in bench.ran] == ["s0", "g0", "g0", "s1", "g1", "g1", "s2", "g2", "g2"]

    async def test_a_failing_activity_lands_as_a_failure_in_the_users_words(self, bench: Bench) -> None:
        """Type and text, the same after a rebuild; the orchestrator decides what follows."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("bad", "refuse", "this")
            landed = yield
            assert (landed.kind, landed.key) == ("failure", "bad")
            host.activity("gate", "gate", 1)
            yield
            return protocol.Ended(failure=landed.value)

        gate = bench.gate()
        bench.activity("refuse", programs.refuse)
        bench.program("trying", program)
        await bench.begin("trying", "a")
        await gate.enter()
        await bench.rebuild()
        gate.open.set()
        failure = await bench.failure("a")
        assert (failure.type, failure.message) == ("ValueError", "this is no good")
        assert failure.detail.endswith("ValueError: this is no good")
        assert bench.ran.count(("a", "bad")) == 1

    async def test_an_activity_that_is_cancelled_from_inside_lands_as_a_failure(self, bench: Bench) -> None:
        """A call that user code cancelled is no cancelled activity."""

        async def cancelled(call: Any) -> Any:
            raise asyncio.CancelledError("the user's own")

        bench.activity("cancelled", cancelled)
        bench.program("first", programs.first_landing(lambda host: host.activity("x", "cancelled", 1)))
        await bench.begin("first", "a")
        assert await bench.output("a") == ["failure", "x", "the user's own"]

    async def test_the_payloads_of_a_result_are_there_for_whoever_sees_it(self, bench: Bench) -> None:
        """For the next activity, and for a client after a rebuild; under the owner that it names."""
        bodies = [b"", b"small", b"medium" * 10_000, bytes(range(256)) * 1_000]
        items = [refs.blob(body) for body in bodies]

        def read(owner: str) -> list[bytes]:
            return [bench.backend.payloads.read(owner, item.digest) for item in items]

        async def look(owner: Any) -> Any:
            return read(await bench.backend.owner(owner)) == bodies

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            found = []
            for give, owner in (("mine", "a"), ("theirs", "root")):
                host.activity(give, give, None)
                yield
                host.activity(f"look {give}", "look", owner)
                found.append((yield).value)
            return protocol.Ended(encode(found))

        bench.activity("mine", programs.same, blobs=lambda _: items)
        bench.activity("theirs", programs.same, blobs=lambda _: items, owner="root")
        bench.activity("look", look)
        bench.program("storing", program)
        await bench.begin("storing", "a")
        assert await bench.output("a") == [True, True]
        await bench.rebuild()
        assert read(await bench.backend.owner("a")) == read("root") == bodies

    async def test_a_large_result_lands_whole(self, bench: Bench) -> None:
        """Before and after a rebuild."""
        large = "x" * 1_000_000
        gate = bench.gate()

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("large", "large", None)
            landed = yield
            host.activity("gate", "gate", 1)
            yield
            return protocol.Ended(encode(landed.value))

        async def give(call: Any) -> Any:
            return large

        bench.activity("large", give)
        bench.program("carrying", program)
        await bench.begin("carrying", "a")
        await gate.enter()
        await bench.rebuild()
        gate.open.set()
        assert await bench.output("a") == large
