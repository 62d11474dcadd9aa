from __future__ import annotations

import asyncio
import time

import pytest

from perdure.engine import instance
from perdure.workflow import protocol

from . import lab


async def test_an_instance_that_waits_for_events_leaves_memory(bench: lab.Lab) -> None:
    await bench.engine.begin("awaiting", "a", b"2")
    assert not bench.engine._core.live
    assert await bench.engine.raise_event("a", "go", b"x")
    assert not bench.engine._core.live
    await bench.restart()
    assert await bench.engine.raise_event("a", "go", b"y")
    view = await bench.ended("a")
    assert view.output == lab.encode([b"x", b"y"])


async def test_an_accepted_event_survives_a_crash(bench: lab.Lab) -> None:
    await bench.engine.begin("awaiting", "a", b"2")
    assert await bench.engine.raise_event("a", "go", b"x")
    await bench.crash()
    view = bench.engine.view("a")
    assert view is not None and view.custom_status == b"1 to come"
    assert await bench.engine.raise_event("a", "go", b"y")
    assert (await bench.ended("a")).output == lab.encode([b"x", b"y"])
    assert [event.data for event in bench.engine.events("a")] == [b"got x", b"got y"]


async def test_an_event_for_nobody_is_refused(bench: lab.Lab) -> None:
    assert await bench.engine.raise_event("nobody", "go", b"") is False
    await bench.engine.begin("chain", "a", b"0")
    await bench.ended("a")
    assert await bench.engine.raise_event("a", "go", b"") is False


async def test_an_event_that_comes_while_an_activity_runs_is_sent_at_once(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.activity("gate", gate)

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("slow", "gate", 1)
        order = []
        for _ in range(2):
            landed = yield
            order.append(landed.kind)
        return protocol.Ended(output=lab.encode(order))

    bench.program("both", program)
    await bench.engine.begin("both", "a", b"")
    await gate.entered.wait()
    assert await bench.engine.raise_event("a", "early", b"")
    gate.open.set()
    assert (await bench.ended("a")).output == lab.encode(["event", "result"])


async def test_many_events_at_once_are_all_sent_in_order(bench: lab.Lab) -> None:
    await bench.engine.begin("awaiting", "a", b"50")
    told = await asyncio.gather(*(bench.engine.raise_event("a", "go", b"%d" % n) for n in range(51)))
    assert told == [True] * 50 + [False]
    assert (await bench.ended("a")).output == lab.encode([b"%d" % n for n in range(50)])


def timed(host: protocol.Host, call: bytes) -> protocol.Steps:
    host.timer("later", host.now + float(call))
    host.timer("never", host.now + 1e6)
    landed = yield
    return protocol.Ended(output=lab.encode([landed.kind, landed.key]))


async def test_a_timer_fires_in_a_live_instance(bench: lab.Lab) -> None:
    bench.program("timed", timed)
    began = time.time()
    await bench.engine.begin("timed", "a", b"0.05")
    assert bench.engine._core.live
    view = await bench.ended("a")
    assert view.output == lab.encode(["timer", "later"])
    assert view.updated - began >= 0.05


async def test_a_timer_wakes_a_parked_instance(bench: lab.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "STAY_FOR_TIMER_SECONDS", 0.0)
    bench.program("timed", timed)
    await bench.engine.begin("timed", "a", b"0.1")
    assert not bench.engine._core.live
    assert (await bench.ended("a")).output == lab.encode(["timer", "later"])
    assert bench.engine._readers.rows("select_next_timer", (0,)) == []


async def test_timers_of_parked_instances_survive_a_crash_and_all_fire(
    bench: lab.Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "STAY_FOR_TIMER_SECONDS", 0.0)
    bench.program("timed", timed)
    await asyncio.gather(*(bench.engine.begin("timed", f"a{number}", b"0.3") for number in range(300)))
    await bench.crash()
    views = await asyncio.gather(*(bench.ended(f"a{number}") for number in range(300)))
    assert {view.output for view in views} == {lab.encode(["timer", "later"])}


async def test_a_timer_set_before_an_activity_counts_on_after_the_instance_was_parked(
    bench: lab.Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "STAY_FOR_TIMER_SECONDS", 0.0)
    gate = lab.Gate()
    bench.activity("gate", gate)

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.timer("deadline", host.now + 0.2)
        yield
        host.activity("slow", "gate", 1)
        landed = yield
        host.cancel("slow")
        return protocol.Ended(output=lab.encode([landed.kind, landed.key]))

    bench.program("deadline", program)
    await bench.engine.begin("deadline", "a", b"")
    await bench.engine.raise_event("a", "go", b"")
    await gate.entered.wait()
    assert (await bench.ended("a")).output == lab.encode(["timer", "deadline"])


async def test_a_cancelled_timer_does_not_fire(bench: lab.Lab) -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.timer("first", host.now + 0.05)
        yield
        host.cancel("first")
        host.timer("second", host.now + 0.1)
        landed = yield
        return protocol.Ended(output=landed.key.encode())

    bench.program("fickle", program)
    await bench.engine.begin("fickle", "a", b"")
    await bench.engine.raise_event("a", "go", b"")
    assert (await bench.ended("a")).output == b"second"


async def test_a_parked_instance_keeps_a_state_so_that_waking_it_costs_little(bench: lab.Lab) -> None:
    resumed: list[bytes] = []

    def steps(host: protocol.Host, first: int) -> protocol.Steps:
        for step in range(first, 20):
            host.activity(f"s{step}", "same", step)
            yield
        host.keep(lambda: b"20")
        yield
        return protocol.Ended(output=b"done")

    def resume(host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        resumed.append(state)
        return steps(host, int(state))

    bench.program("long", lambda host, call: steps(host, 0), resume)
    await bench.engine.begin("long", "a", b"")
    while bench.engine._core.live:
        await bench.engine._core.commits.committed()
    await bench.engine.raise_event("a", "go", b"")
    assert (await bench.ended("a")).output == b"done"
    assert resumed == [b"20"]


async def test_an_orchestrator_is_closed_when_its_instance_leaves_memory(bench: lab.Lab) -> None:
    left: list[str] = []
    gate = lab.Gate()
    bench.activity("gate", gate)

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        try:
            yield
            left.append("woken")
            host.activity("slow", "gate", 1)
            yield
            return protocol.Ended(output=b"")
        finally:
            left.append("left")

    bench.program("tidy", program)
    await bench.engine.begin("tidy", "a", b"")
    assert left == ["left"]
    await bench.engine.raise_event("a", "go", b"")
    assert left == ["left", "woken"]
    await gate.entered.wait()
    await bench.crash()
    assert left == ["left", "woken", "left", "woken"]
    gate.open.set()
    await bench.ended("a")
    assert left == ["left", "woken", "left", "woken", "left"]


async def test_an_orchestrator_that_raises_while_it_is_closed_spoils_nothing(
    bench: lab.Lab, caplog: pytest.LogCaptureFixture
) -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        try:
            yield
            return protocol.Ended(output=b"")
        finally:
            raise ValueError("untidy")

    bench.program("untidy", program)
    await bench.engine.begin("untidy", "a", b"")
    assert "raised while it was closed" in caplog.text
    assert await bench.engine.terminate("a", "enough")
    view = bench.engine.view("a")
    assert view is not None and view.status == "Terminated"
