from __future__ import annotations

from perdure.workflow import protocol

from . import lab


def parent(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Starts a child under its own id plus a suffix, and gives back what it gave."""
    name, rest = call.decode().split(":", 1)
    host.child("kid", name, host.instance_id + "/kid", rest.encode())
    host.emit(b"asked")
    landed = yield
    host.emit(landed.kind.encode())
    if landed.kind == "failure":
        return protocol.Ended(failure=landed.value)
    return protocol.Ended(output=lab.encode(landed.value))


async def test_a_childs_output_lands_in_its_parent(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"chain:3")
    assert (await bench.ended("a")).output == lab.encode(3)
    child = bench.engine.view("a/kid")
    assert child is not None and (child.status, child.parent) == ("Completed", "a")


async def test_a_child_that_ends_in_its_first_turn_lands(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    view, new = await bench.engine.begin("parent", "a", b"chain:0")
    assert new and view.status == "Completed" and view.output == lab.encode(0)


async def test_two_levels_of_children_survive_a_crash_at_the_bottom(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.program("parent", parent)
    bench.activity("same", gate)
    await bench.engine.begin("parent", "a", b"parent:chain:2")
    await gate.entered.wait()
    await bench.crash()
    gate.open.set()
    assert (await bench.ended("a")).output == lab.encode(1)
    assert [event.data for event in bench.engine.events("a")] == [b"asked", b"result"]
    assert [event.data for event in bench.engine.events("a/kid")] == [b"asked", b"result"]


async def test_a_parent_waits_for_a_child_that_is_parked_across_a_crash(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"awaiting:1")
    await bench.crash()
    assert await bench.engine.raise_event("a/kid", "go", b"x")
    assert (await bench.ended("a")).output == lab.encode([b"x"])


async def test_a_child_that_ended_while_its_parent_was_gone_is_found(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"awaiting:1")
    gone = bench.orchestrators.pop("parent")
    await bench.crash()
    assert await bench.engine.raise_event("a/kid", "go", b"x")
    await bench.ended("a/kid")
    bench.orchestrators["parent"] = gone
    await bench.restart()
    assert (await bench.ended("a")).output == lab.encode([b"x"])


async def test_a_childs_failure_lands_as_a_failure(bench: lab.Lab) -> None:
    async def broken(call: object) -> object:
        raise ValueError("no good")

    bench.program("parent", parent)
    bench.activity("same", broken)
    await bench.engine.begin("parent", "a", b"chain:1")
    view = await bench.ended("a")
    assert view.status == "Failed" and view.failure is not None and view.failure.message == "no good"


async def test_a_child_of_an_unknown_name_lands_as_a_failure(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"nobody:1")
    view = await bench.ended("a")
    assert view.failure is not None and "nobody" in view.failure.message


async def test_a_child_never_takes_over_an_instance_that_is_not_its_parents(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("awaiting", "a/kid", b"1")
    await bench.engine.begin("parent", "a", b"awaiting:1")
    view = await bench.ended("a")
    assert view.failure is not None and view.failure.type == "InstanceExists"


async def test_terminating_a_parent_terminates_its_children(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"parent:awaiting:1")
    assert await bench.engine.terminate("a", "enough")
    for instance_id in ("a", "a/kid", "a/kid/kid"):
        view = bench.engine.view(instance_id)
        assert view is not None and view.status == "Terminated", instance_id


async def test_terminating_a_child_fails_it_in_its_parent(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"awaiting:1")
    assert await bench.engine.terminate("a/kid", "enough")
    view = await bench.ended("a")
    assert view.failure is not None and view.failure.message == "enough"


async def test_purging_a_parent_purges_its_children(bench: lab.Lab) -> None:
    bench.program("parent", parent)
    await bench.engine.begin("parent", "a", b"parent:chain:1")
    await bench.ended("a")
    assert await bench.engine.purge("a")
    assert bench.engine.query(children=True) == ([], None)
