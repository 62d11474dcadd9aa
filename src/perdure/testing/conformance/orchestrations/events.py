"""What is sent to an orchestration, and what it tells."""

from __future__ import annotations

from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, encode
from perdure.workflow import protocol


class EventsSuite:
    """What is sent to an orchestration, and what it tells."""

    async def test_an_event_lands_with_its_name_and_data(self, bench: Bench) -> None:
        """Empty and large data included."""
        sent = [["go", b""], ["ünïcode/name", b"x"], ["", b"nameless"], ["large", b"y" * 300_000]]
        bench.program("collecting", programs.collecting)
        await bench.begin("collecting", "a", b"4")
        for name, data in sent:
            await bench.send("a", str(name), bytes(data))  # type: ignore[arg-type]  # a name and bytes
        assert await bench.output("a") == sent

    async def test_events_that_nobody_waits_for_yet_are_not_lost(self, bench: Bench) -> None:
        """They land as they come, in their order, while an activity runs."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.activity("slow", "gate", 1)
            got = []
            for _ in range(4):
                got.append((yield).key)
            return protocol.Ended(encode(got))

        gate = bench.gate()
        bench.program("busy", program)
        await bench.begin("busy", "a")
        for name in ("one", "two", "three"):
            await bench.send("a", name)
        await gate.enter()
        gate.open.set()
        assert await bench.output("a") == ["one", "two", "three", "slow"]

    async def test_an_accepted_event_survives_a_rebuild(self, bench: Bench) -> None:
        """Each lands once, in order."""
        bench.program("collecting", programs.collecting)
        await bench.begin("collecting", "a", b"6")
        expected = [b"%d" % number for number in range(6)]
        for number in range(0, 6, 2):
            await bench.send("a", "go", expected[number])
            await bench.send("a", "go", expected[number + 1])
            await bench.rebuild()
        assert [data for _, data in await bench.output("a")] == expected
        assert await bench.emitted("a") == expected

    async def test_an_event_for_nobody_is_refused(self, bench: Bench) -> None:
        """An unknown orchestration, or one that has ended, takes none; before and after a rebuild."""
        bench.program("chain", programs.chain)
        await bench.begin("chain", "a", b"1")
        await bench.ended("a")
        for instance_id in ("a", "nobody"):
            assert not await bench.backend.raise_event(instance_id, "go", b"")
        await bench.rebuild()
        for instance_id in ("a", "nobody"):
            assert not await bench.backend.raise_event(instance_id, "go", b"")

    async def test_what_is_emitted_is_gapless_in_order_and_not_repeated_by_a_rebuild(self, bench: Bench) -> None:
        """Those of the first and of the last turn included."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.emit(b"begin")
            host.emit(b"")
            for step in range(6):
                host.activity(f"s{step}", f"gate {step}" if step % 2 else "same", step)
                yield
                host.emit(b"%d first" % step)
                host.emit(b"%d second" % step)
            host.emit(b"end")
            return protocol.Ended(encode("done"))

        steps = [b"%d %s" % (step, which) for step in range(6) for which in (b"first", b"second")]
        expected = [b"begin", b"", *steps, b"end"]
        gates = [bench.gate(f"gate {step}") for step in (1, 3, 5)]
        bench.program("telling", program)
        await bench.begin("telling", "a")
        for number, gate in enumerate(gates, 1):
            await gate.enter()
            await bench.rebuild()
            await gate.enter()
            assert await bench.emitted("a") == expected[: 4 * number]
            gate.open.set()
        await bench.ended("a")
        assert await bench.emitted("a") == expected
        await bench.rebuild()
        assert await bench.emitted("a") == expected

    async def test_the_custom_status_is_the_last_one_set(self, bench: Bench) -> None:
        """Within a turn, after a rebuild and after the end; None unsets it."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.status(b"first")
            host.status(b"second")
            yield
            host.status(None)
            yield
            host.status(b"third")
            yield
            yield
            host.status(b"last")
            return protocol.Ended(encode(None))

        bench.program("saying", program)
        await bench.begin("saying", "a")
        for expected in (b"second", None, b"third", b"third"):
            assert await bench.backend.status("a") == expected
            await bench.rebuild()
            assert await bench.backend.status("a") == expected
            await bench.send("a")
        await bench.ended("a")
        assert await bench.backend.status("a") == b"last"
