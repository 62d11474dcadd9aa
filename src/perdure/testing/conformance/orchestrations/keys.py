"""What keys are for: to be waited for once, and to be taken back."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, encode
from perdure.workflow import protocol


class KeysSuite:
    """What keys are for: to be waited for once, and to be taken back."""

    @pytest.mark.parametrize("second", ["activity", "timer", "child"])
    @pytest.mark.parametrize("first", ["activity", "timer", "child"])
    async def test_a_key_that_is_waited_for_is_refused(self, bench: Bench, first: str, second: str) -> None:
        """As a ValueError in the orchestrator; what had the key lands."""

        def schedule(host: protocol.Host, kind: str, name: str) -> None:
            if kind == "activity":
                host.activity("key", "same", name)
            elif kind == "timer":
                host.timer("key", host.now)
            else:
                host.child("key", "chain", f"{host.instance_id}.{name}", b"1")

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            schedule(host, first, "first")
            with pytest.raises(ValueError, match="key"):
                schedule(host, second, "second")
            landed = yield
            return protocol.Ended(encode([landed.kind, landed.key, landed.value]))

        bench.program("chain", programs.chain)
        bench.program("twice", program)
        await bench.begin("twice", "a")
        expected = {"activity": ("result", "first"), "timer": ("timer", None), "child": ("result", 0)}
        kind, value = expected[first]
        assert await bench.output("a") == [kind, "key", value]

    async def test_a_duplicate_key_that_is_not_caught_fails_the_instance(self, bench: Bench) -> None:
        """Nothing of the turn runs."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            yield
            host.activity("key", "same", 1)
            host.activity("key", "same", 2)
            yield
            return protocol.Ended()

        bench.program("twice", program)
        await bench.begin("twice", "a")
        await bench.send("a")
        failure = await bench.failure("a")
        assert failure.type == "ValueError"
        assert "key" in failure.message
        assert bench.ran == []

    async def test_an_event_may_bear_the_name_of_a_key(self, bench: Bench) -> None:
        """It takes nothing away from what lands under the key."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("key", "gate", 1)
            kinds = [(yield).kind]
            kinds.append((yield).kind)
            return protocol.Ended(encode(kinds))

        gate = bench.gate()
        bench.program("both", program)
        await bench.begin("both", "a")
        await gate.enter()
        await bench.send("a", "key")
        gate.open.set()
        assert await bench.output("a") == ["event", "result"]

    async def test_a_cancelled_activity_never_lands(self, bench: Bench) -> None:
        """Not even if it is done afterwards, nor after a rebuild."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("slow", "slow", "slow")
            yield
            host.cancel("slow")
            host.activity("next", "next", 2)
            keys = [(yield).key]
            keys.append((yield).key)
            return protocol.Ended(encode(keys))

        slow, last = bench.gate("slow"), bench.gate("next")
        bench.program("fickle", program)
        await bench.begin("fickle", "a")
        await slow.enter()
        await bench.send("a")
        await last.enter()
        slow.open.set()
        await bench.rebuild()
        await last.enter()
        await bench.send("a", "still there")
        last.open.set()
        assert await bench.output("a") == ["still there", "next"]

    async def test_what_is_cancelled_in_the_turn_that_scheduled_it_never_starts(self, bench: Bench) -> None:
        """Its key is free at once."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("x", "same", "cancelled")
            host.cancel("x")
            host.timer("x", host.now)
            host.cancel("x")
            host.child("x", "chain", "kid", b"1")
            host.cancel("x")
            host.activity("x", "same", "kept")
            landed = yield
            return protocol.Ended(encode(landed.value))

        bench.program("chain", programs.chain)
        bench.program("fickle", program)
        await bench.begin("fickle", "a")
        assert await bench.output("a") == "kept"
        assert bench.ran == [("a", "x")]
        assert not await bench.backend.raise_event("kid", "go", b"")
        assert await bench.begin("chain", "kid", b"0")

    async def test_a_cancelled_timer_never_lands(self, bench: Bench) -> None:
        """A later one does, across a rebuild."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.timer("first", host.now + 0.05)
            yield
            host.cancel("first")
            host.timer("second", host.now + 0.1)
            landed = yield
            return protocol.Ended(encode(landed.key))

        bench.program("fickle", program)
        await bench.begin("fickle", "a")
        await bench.send("a")
        await bench.rebuild()
        assert await bench.output("a") == "second"

    async def test_a_cancelled_child_never_lands(self, bench: Bench) -> None:
        """Its parent has gone on."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.child("kid", "collecting", "kid", b"1")
            yield
            host.cancel("kid")
            got: list[Any] = [(yield).kind]
            got.append((yield).kind)
            return protocol.Ended(encode(got))

        bench.program("fickle", program)
        bench.program("collecting", programs.collecting)
        await bench.begin("fickle", "a")
        await bench.send("a")
        await bench.send("a")
        await bench.rebuild()
        await bench.backend.raise_event("kid", "go", b"")
        await bench.send("a")
        assert await bench.output("a") == ["event", "event"]

    async def test_cancelling_what_is_not_there_does_nothing(self, bench: Bench) -> None:
        """Neither an unknown key nor one that has landed is an error."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.cancel("unknown")
            host.activity("x", "same", 1)
            yield
            host.cancel("x")
            host.activity("y", "same", 2)
            landed = yield
            return protocol.Ended(encode(landed.value))

        bench.program("careful", program)
        await bench.begin("careful", "a")
        assert await bench.output("a") == 2
