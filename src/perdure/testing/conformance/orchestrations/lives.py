"""How an orchestrator is let go of and run again."""

from __future__ import annotations

from typing import Any

from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, Notes, decode, encode
from perdure.workflow import protocol


class LivesSuite:
    """How an orchestrator is let go of and run again."""

    async def test_a_generator_is_closed_when_the_host_lets_go(self, bench: Bench) -> None:
        """At its end, when it fails, and when the host stops: so its ``finally`` clauses run."""
        begun, closed = Notes(), Notes()

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            begun.note(host.instance_id)
            try:
                landed = yield
                if landed.key == "fail":
                    raise ValueError("as asked")
                return protocol.Ended(encode("done"))
            finally:
                closed.note(host.instance_id)

        bench.program("closing", program)
        for instance_id in ("done", "fail", "waiting"):
            await bench.begin("closing", instance_id)
        for instance_id in ("done", "fail"):
            await bench.send(instance_id, instance_id)
            await bench.ended(instance_id)
            assert closed.count(instance_id) == begun.count(instance_id), instance_id
        await bench.backend.stop()
        assert sorted(begun) == sorted(closed)
        await bench.backend.start()
        await bench.send("waiting")
        assert await bench.output("waiting") == "done"
        assert sorted(begun) == sorted(closed)

    async def test_what_a_generator_says_while_it_is_closed_counts_for_nothing(self, bench: Bench) -> None:
        """Its next life goes on from what was recorded."""
        begun, closed = Notes(), Notes()

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            begun.note(None)
            over = False
            try:
                host.activity("slow", "gate", 1)
                landed = yield
                over = True
                return protocol.Ended(encode(landed.value))
            finally:
                if not over:
                    host.emit(b"not over")
                    host.status(b"not over")
                    host.activity("more", "same", 2)
                    host.cancel("slow")
                closed.note(None)

        gate = bench.gate()
        bench.program("closing", program)
        await bench.begin("closing", "a")
        await gate.enter()
        await bench.backend.stop()
        assert len(begun) == len(closed)
        await bench.backend.start()
        gate.open.set()
        assert await bench.output("a") == 1
        assert len(begun) == len(closed)
        assert await bench.emitted("a") == []
        assert await bench.backend.status("a") is None
        assert {key for _, key in bench.ran} == {"slow"}

    async def test_a_kept_state_gives_the_same_end(self, bench: Bench) -> None:
        """Whether the host resumes from it or runs from the start; events and activities are no others."""
        held = (1, 40, 90)

        def steps(host: protocol.Host, first: int, total: int) -> protocol.Steps:
            for step in range(first, programs.LONG):
                host.emit(b"%d before" % step)
                host.status(b"at %d" % step)
                _keep(host, [step, total])
                host.emit(b"%d after" % step)
                host.activity(f"s{step}", f"gate {step}" if step in held else "same", step)
                total += (yield).value
            return protocol.Ended(encode(total))

        gates = {step: bench.gate(f"gate {step}") for step in held}
        bench.program(
            "long", lambda host, call: steps(host, 0, 0), lambda host, call, state: steps(host, *decode(state))
        )
        await bench.begin("long", "a")
        for step, gate in gates.items():
            await gate.enter()
            await bench.rebuild()
            await gate.enter()
            assert await bench.backend.status("a") == b"at %d" % step
            gate.open.set()
        numbers = range(programs.LONG)
        assert await bench.output("a") == sum(numbers)
        assert await bench.emitted("a") == [
            b"%d %s" % (step, which) for step in numbers for which in (b"before", b"after")
        ]
        assert sorted(bench.ran) == sorted(("a", f"s{step}") for step in (*numbers, *held))

    async def test_a_kept_state_counts_with_what_is_still_out(self, bench: Bench) -> None:
        """What was scheduled before it and has not landed lands in the resumed orchestrator; its status stays."""

        def steps(host: protocol.Host, first: int, got: list[str]) -> protocol.Steps:
            if first == 0:
                host.status(b"said once")
            if not got:
                host.activity("slow", "slow", "slow")
            host.timer("never", host.now + 3600)
            for step in range(first, programs.LONG):
                _keep(host, [step, got])
                host.activity(f"s{step}", "gate" if step == 50 else "same", step)
                while (landed := (yield)).key != f"s{step}":
                    got = [*got, landed.key]
            if not got:
                got = [(yield).key]
            return protocol.Ended(encode(got))

        slow, gate = bench.gate("slow"), bench.gate()
        bench.program(
            "long", lambda host, call: steps(host, 0, []), lambda host, call, state: steps(host, *decode(state))
        )
        await bench.begin("long", "a")
        await gate.enter()
        await bench.rebuild()
        await gate.enter()
        assert await bench.backend.status("a") == b"said once"
        slow.open.set()
        gate.open.set()
        assert await bench.output("a") == ["slow"]
        expected = [*(f"s{step}" for step in range(programs.LONG)), "slow", "slow", "s50"]
        assert sorted(key for _, key in bench.ran) == sorted(expected)

    async def test_events_are_sent_once_whichever_state_was_kept(self, bench: Bench) -> None:
        """A resumed orchestrator is sent what came after its state, and only that."""

        def steps(host: protocol.Host, got: list[Any]) -> protocol.Steps:
            while len(got) < programs.LONG:
                _keep(host, got)
                host.status(b"%d" % len(got))
                got = [*got, decode((yield).value)]
            return protocol.Ended(encode(got))

        bench.program("long", lambda host, call: steps(host, []), lambda host, call, state: steps(host, decode(state)))
        await bench.begin("long", "a")
        for number in range(programs.LONG):
            if number % 13 == 0:
                await bench.rebuild()
                assert await bench.backend.status("a") == b"%d" % number
            await bench.send("a", "go", encode(number))
        assert await bench.output("a") == list(range(programs.LONG))


def _keep(host: protocol.Host, state: Any) -> None:
    encoded = encode(state)
    host.keep(lambda: encoded)
