from __future__ import annotations

import pytest

from perdure.workflow import protocol

from . import lab

BROKEN = [True]


def failing(host: protocol.Host, call: bytes) -> protocol.Steps:
    """Two activities and a timer; the second fails while broken, with a state to go on from."""
    host.activity("one", "same", 1)
    yield
    return (yield from second(host, call, b"one is done"))


def second(host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
    host.activity("two", "fragile", 2)
    host.timer("far", host.now + 1e6)
    while True:
        landed = yield
        if landed.kind == "event":
            host.emit(b"again")
        elif landed.kind == "failure":
            host.emit(b"failed")
            return protocol.Ended(failure=landed.value, state=state)
        else:
            host.emit(b"done")
            return protocol.Ended(output=lab.encode([state, landed.value]))


def stateless(host: protocol.Host, call: bytes) -> protocol.Steps:
    host.activity("two", "fragile", 2)
    landed = yield
    return protocol.Ended(failure=landed.value)


@pytest.fixture
async def broken(bench: lab.Lab) -> lab.Lab:
    async def fragile(call: object) -> object:
        if BROKEN[0]:
            raise ValueError("broken")
        return call

    BROKEN[0] = True
    bench.program("failing", failing, second)
    bench.program("stateless", stateless)
    bench.activity("fragile", fragile)
    await bench.engine.begin("failing", "a", b"")
    assert (await bench.ended("a")).status == "Failed"
    return bench


async def test_a_reopened_instance_goes_on_from_the_state_it_failed_with(broken: lab.Lab) -> None:
    BROKEN[0] = False
    broken.ran.clear()
    assert await broken.engine.reopen("a", "reopened")
    view = await broken.ended("a")
    assert (view.status, view.failure) == ("Completed", None)
    assert view.output == lab.encode([b"one is done", 2])
    assert broken.ran == [("a", "two")]


async def test_the_event_log_of_a_reopened_instance_goes_on_without_a_gap(broken: lab.Lab) -> None:
    BROKEN[0] = False
    await broken.engine.reopen("a", "reopened")
    await broken.ended("a")
    events = broken.engine.events("a")
    assert [(event.id, event.data) for event in events] == [(1, b"failed"), (2, b"again"), (3, b"done")]


@pytest.mark.parametrize("crashes", [("before",), ("after",), ("before", "after")])
async def test_a_reopening_survives_a_crash_on_either_side(broken: lab.Lab, crashes: tuple[str, ...]) -> None:
    if "before" in crashes:
        await broken.crash()
    assert await broken.engine.reopen("a", "reopened")
    assert (await broken.ended("a")).status == "Failed"
    BROKEN[0] = False
    assert await broken.engine.reopen("a", "reopened")
    if "after" in crashes:
        await broken.crash()
    assert (await broken.ended("a")).output == lab.encode([b"one is done", 2])


async def test_what_has_not_failed_or_left_no_state_is_not_reopened(broken: lab.Lab) -> None:
    assert not await broken.engine.reopen("nobody", "reopened")
    await broken.engine.begin("stateless", "b", b"")
    await broken.ended("b")
    assert not await broken.engine.reopen("b", "reopened")
    assert (await broken.ended("b")).status == "Failed"
    await broken.engine.begin("awaiting", "c", b"1")
    assert not await broken.engine.reopen("c", "reopened")
    await broken.engine.terminate("c", "enough")
    assert not await broken.engine.reopen("c", "reopened")
