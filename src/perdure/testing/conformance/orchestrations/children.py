"""What becomes of children."""

from __future__ import annotations

from perdure.testing.conformance.orchestrations import programs
from perdure.testing.conformance.orchestrations.bench import Bench, encode
from perdure.workflow import protocol


class ChildrenSuite:
    """What becomes of children."""

    async def test_a_childs_output_lands_in_its_parent(self, bench: Bench) -> None:
        """Decoded as the parent's orchestrator decodes; its events are its own."""
        bench.program("parent", programs.parent)
        bench.program("chain", programs.chain)
        await bench.begin("parent", "a", b"chain 4")
        assert await bench.output("a") == ["result", "kid", 6]
        assert await bench.output("a.kid") == 6
        assert await bench.emitted("a.kid") == [b"0", b"1", b"2", b"3"]
        assert await bench.emitted("a") == []

    async def test_a_child_that_ends_in_its_first_turn_lands(self, bench: Bench) -> None:
        """On two levels at once."""
        bench.program("parent", programs.parent)
        bench.program("chain", programs.chain)
        await bench.begin("parent", "a", b"parent chain 0")
        assert await bench.output("a") == ["result", "kid", ["result", "kid", 0]]

    async def test_two_levels_of_children_land_across_a_rebuild(self, bench: Bench) -> None:
        """None is begun twice."""
        gate = bench.gate()

        def slow(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.emit(b"began")
            host.activity("gate", "gate", 7)
            landed = yield
            return protocol.Ended(encode(landed.value))

        bench.program("parent", programs.parent)
        bench.program("slow", slow)
        await bench.begin("parent", "a", b"parent slow")
        await gate.enter()
        await bench.rebuild()
        await gate.enter()
        gate.open.set()
        assert await bench.output("a") == ["result", "kid", ["result", "kid", 7]]
        assert await bench.emitted("a.kid.kid") == [b"began"]
        assert bench.ran == [("a.kid.kid", "gate")] * 2

    async def test_a_parent_waits_for_a_child_that_waits_for_an_event(self, bench: Bench) -> None:
        """The event goes to the child, by its id."""
        bench.program("parent", programs.parent)
        bench.program("collecting", programs.collecting)
        await bench.begin("parent", "a", b"parent collecting 2")
        await bench.send("a.kid.kid", "go", b"1")
        await bench.rebuild()
        await bench.send("a.kid.kid", "go", b"2")
        got = [["go", b"1"], ["go", b"2"]]
        assert await bench.output("a") == ["result", "kid", ["result", "kid", got]]

    async def test_a_childs_failure_lands_in_its_words(self, bench: Bench) -> None:
        """Through two levels and a rebuild."""

        def raising(host: protocol.Host, call: bytes) -> protocol.Steps:
            yield
            raise KeyError("lost")

        bench.program("parent", programs.parent)
        bench.program("raising", raising)
        await bench.begin("parent", "a", b"parent raising")
        await bench.rebuild()
        await bench.send("a.kid.kid")
        failure = await bench.failure("a")
        assert (failure.type, failure.message) == ("KeyError", "'lost'")
        assert failure == await bench.failure("a.kid") == await bench.failure("a.kid.kid")

    async def test_a_childs_landing_is_recorded(self, bench: Bench) -> None:
        """A parent that goes on after its child ended is sent the same in its next life."""

        def program(host: protocol.Host, call: bytes) -> protocol.Steps:
            host.child("kid", "chain", "kid", b"3")
            host.child("bad", "raising", "bad", b"")
            landed = [(yield), (yield)]
            host.activity("gate", "gate", 1)
            yield
            return protocol.Ended(encode(sorted((item.key, item.kind) for item in landed)))

        def raising(host: protocol.Host, call: bytes) -> protocol.Steps:
            yield from ()
            raise KeyError("lost")

        gate = bench.gate()
        bench.program("chain", programs.chain)
        bench.program("raising", raising)
        bench.program("parent", program)
        await bench.begin("parent", "a")
        await gate.enter()
        await bench.rebuild()
        gate.open.set()
        assert await bench.output("a") == [["bad", "failure"], ["kid", "result"]]
        assert [key for instance_id, key in bench.ran if instance_id == "kid"] == ["s0", "s1", "s2"]

    async def test_a_child_never_takes_over_an_id_that_is_taken(self, bench: Bench) -> None:
        """It lands as a failure; the other one goes on."""
        bench.program("parent", programs.parent)
        bench.program("collecting", programs.collecting)
        await bench.begin("collecting", "a.kid", b"1")
        await bench.begin("parent", "a", b"collecting 1")
        assert "a.kid" in (await bench.failure("a")).message
        await bench.send("a.kid", "go", b"x")
        assert await bench.output("a.kid") == [["go", b"x"]]

    async def test_children_run_beside_each_other(self, bench: Bench) -> None:
        """None holds up another; they land as they end."""

        def family(host: protocol.Host, call: bytes) -> protocol.Steps:
            for number in range(5):
                host.child(f"k{number}", "collecting", f"{host.instance_id}.{number}", b"1")
            keys = []
            for _ in range(5):
                keys.append((yield).key)
            return protocol.Ended(encode(keys))

        bench.program("family", family)
        bench.program("collecting", programs.collecting)
        await bench.begin("family", "a")
        order = [3, 0, 4, 2, 1]
        for number in order:
            await bench.send(f"a.{number}")
        assert await bench.output("a") == [f"k{number}" for number in order]
