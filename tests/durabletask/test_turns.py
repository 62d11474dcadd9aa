"""What a worker makes of a batch of events, what it takes and what it lets go of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests import polling
from tests.durabletask import orchestrating
from tests.durabletask.scheduler import Scheduler

from perdure.hosts.durabletask import sdk
from perdure.hosts.replay import activities, life
from perdure.payloads import owners
from perdure.testing.conformance import orchestrations as conformance
from perdure.testing.conformance.orchestrations import bench as benches
from perdure.testing.conformance.orchestrations import programs
from perdure.workflow import protocol


@pytest.fixture
async def released() -> benches.Notes:
    return benches.Notes()


@pytest.fixture
async def bench(scheduler: Scheduler, released: benches.Notes) -> AsyncIterator[conformance.Bench]:
    async def open_hub(
        orchestrators: orchestrating.Orchestrators, given: orchestrating.Activities
    ) -> conformance.Backend:
        hub = orchestrating.Hub(scheduler, orchestrators, given, released.note)
        await hub.start()
        return hub

    made = conformance.Bench(open_hub)
    yield made
    await made.close()


def hub_of(bench: conformance.Bench) -> orchestrating.Hub:
    assert isinstance(bench.backend, orchestrating.Hub)
    return bench.backend


def collecting(host: protocol.Host, got: list[Any], upto: int) -> protocol.Steps:
    while len(got) < upto:
        state = benches.encode(got)
        host.keep(lambda state=state: state)  # type: ignore[misc]  # a default binds it
        got = [*got, benches.decode((yield).value)]
    return protocol.Ended(benches.encode(got))


async def test_events_that_come_at_once_are_all_heard_however_many_lives_hear_them(bench: conformance.Bench) -> None:
    """What is left of a batch when a life is over is the next one's."""
    upto = 3 * life.KEEP_EVERY_LANDINGS + 1
    bench.program(
        "collecting",
        lambda host, call: collecting(host, [], upto),
        lambda host, call, state: collecting(host, benches.decode(state), upto),
    )
    await bench.begin("collecting", "a")
    await bench.send("a", "go", benches.encode(0))
    await bench.backend.stop()
    for number in range(1, upto):
        await bench.send("a", "go", benches.encode(number))
    await bench.backend.start()
    assert await bench.output("a") == list(range(upto))


async def test_a_run_that_is_ended_from_outside_takes_no_step_more(
    bench: conformance.Bench, scheduler: Scheduler
) -> None:
    """Though what it waited for has come too, before it or after it."""

    def steps(host: protocol.Host, call: bytes) -> protocol.Steps:
        yield
        host.activity("late", "same", 1)
        yield
        return protocol.Ended()

    bench.program("steps", steps)
    for run in ("before", "after"):
        await bench.begin("steps", run)
    hub = hub_of(bench)
    await hub.stop()
    await hub.begin("steps", "never", b"")
    await bench.send("before")
    for run in ("before", "after", "never"):
        await hub.client.terminate(run, "enough")
    await bench.send("after")
    await hub.start()
    for run in ("before", "after", "never"):
        state = await hub.client.wait(run, benches.PATIENCE_SECONDS)
        assert state is not None and state.status == "Terminated"
        assert scheduler.scheduled(run) == []


async def test_a_worker_that_stops_says_what_it_does_not_finish(bench: conformance.Bench, scheduler: Scheduler) -> None:
    """It is due at once, and not only when the scheduler sees that the connection is gone."""
    gate = bench.gate()
    bench.program("waiting", programs.first_landing(lambda host: host.activity("x", "gate", 1)))
    await bench.begin("waiting", "a")
    await gate.enter()
    await hub_of(bench).retire()
    assert len(scheduler.given_back) == 1
    gate.open.set()
    await bench.backend.start()
    assert await bench.output("a") == ["result", "x", 1]


async def test_a_worker_that_stops_does_not_begin_what_it_had_taken_and_not_begun(
    bench: conformance.Bench, scheduler: Scheduler
) -> None:
    """It would be waited for by the stop, and let go by nobody."""

    def done(host: protocol.Host, call: bytes) -> protocol.Steps:
        yield from ()
        return protocol.Ended(benches.encode("done"))

    gate = bench.gate()
    bench.program("waiting", programs.first_landing(lambda host: host.activity("x", "gate", 1)))
    bench.program("done", done)
    await bench.begin("done", "first")
    assert await bench.output("first") == "done"
    hub = hub_of(bench)
    await hub.stop()
    hub.at_once = 1
    await hub.start()
    for run in ("a", "b"):
        await bench.begin("waiting", run)
    await gate.enter()
    await polling.until(lambda: scheduler.taken, lambda taken: taken == 2)
    # What a worker is given comes in order: with this the other step has come too.
    await bench.begin("done", "second")
    assert await bench.output("second") == "done"
    async with asyncio.timeout(benches.PATIENCE_SECONDS):
        await hub.retire()
    assert len(bench.ran) == 1
    gate.open.set()
    await bench.backend.start()
    for run in ("a", "b"):
        assert await bench.output(run) == ["result", "x", 1]


async def test_what_a_worker_does_not_have_waits_for_one_that_has_it(
    bench: conformance.Bench, scheduler: Scheduler
) -> None:
    """So two apps may share a task hub, and so may two versions of one."""

    def done(host: protocol.Host, call: bytes) -> protocol.Steps:
        yield from ()
        return protocol.Ended(benches.encode("done"))

    bench.program("known", done)
    await bench.begin("known", "a")
    other = orchestrating.Hub(scheduler, {"other": benches.Scripted("other", done, None)}, {})
    try:
        await other.begin("other", "b", b"")
        for run in ("c", "d"):
            await bench.begin("known", run)
            assert await bench.output(run) == "done"
        await other.start()
        ended = await other.wait("b", benches.PATIENCE_SECONDS)
        assert ended is not None and ended.failure is None
    finally:
        await other.close()


async def test_what_is_at_hand_for_a_run_is_let_go_of_when_it_ends(
    bench: conformance.Bench, released: benches.Notes
) -> None:
    bench.program("one", programs.first_landing(lambda host: host.activity("x", "same", 1)))
    await bench.begin("one", "a")
    await released.upto(1)
    assert list(map(owners.run_of, released)) == ["a"]


async def test_only_so_many_runs_have_something_at_hand(
    bench: conformance.Bench, released: benches.Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those whose steps are not under way the one that was longest idle is let go of."""
    monkeypatch.setattr(activities, "RUNS_AT_HAND", 2)
    gate = bench.gate()

    def steps(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("x", call.decode(), 1)
        yield
        host.status(b"idle")
        yield
        return protocol.Ended()

    bench.program("steps", steps)
    await bench.begin("steps", "busy", b"gate")
    await gate.enter()
    for number, run in enumerate(("first", "second", "third"), 1):
        await bench.begin("steps", run, b"same")
        await released.upto(number - 1)
    await asyncio.wait_for(released.upto(2), benches.PATIENCE_SECONDS)
    assert list(map(owners.run_of, released)) == ["first", "second"]
    gate.open.set()


def walk(host: protocol.Host, steps: int) -> protocol.Steps:
    got = []
    for step in range(steps):
        host.activity(f"s{step}", "same", step)
        got.append((yield).value)
    return protocol.Ended(benches.encode(got))


async def held_before_its_walk(bench: conformance.Bench) -> benches.Gate:
    """Begin an orchestration ``a`` whose first step is held; it has three more to go then, and gives their numbers."""
    gate = bench.gate()

    def steps(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("held", "gate", 1)
        yield
        return (yield from walk(host, 3))

    bench.program("steps", steps)
    await bench.begin("steps", "a")
    await gate.enter()
    return gate


@contextlib.asynccontextmanager
async def official(scheduler: Scheduler) -> AsyncIterator[Any]:
    """The official client of the hub."""
    made = sdk.make_client(sdk.address(scheduler.address, "test"))
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def taken_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of events that orchestrations were given."""
    kinds: list[str] = []
    original = sdk.Turns.process_event

    def noted(turns: sdk.Turns, context: Any, event: Any) -> None:
        kinds.append(event.WhichOneof("eventType"))
        original(turns, context, event)

    monkeypatch.setattr(sdk.Turns, "process_event", noted)
    return kinds


async def test_a_turn_goes_on_where_the_one_before_stopped(bench: conformance.Bench, taken_in: list[str]) -> None:
    """However long a history is, each of its events is taken in once."""
    bench.program("walk", lambda host, call: walk(host, 30))
    await bench.begin("walk", "a")
    assert await bench.output("a") == list(range(30))
    assert taken_in.count("executionStarted") == 1
    assert taken_in.count("taskScheduled") == taken_in.count("taskCompleted") == 30


async def test_a_turn_whose_answer_was_lost_is_run_from_the_start(
    bench: conformance.Bench, scheduler: Scheduler, taken_in: list[str]
) -> None:
    """The scheduler goes on from before it, and knows nothing of what it had asked for."""
    gate = await held_before_its_walk(bench)
    scheduler.unheard = 1
    gate.open.set()
    assert await bench.output("a") == [0, 1, 2]
    assert taken_in.count("executionStarted") == 2
    assert scheduler.scheduled("a") == ["gate", "same", "same", "same"]


async def test_no_turn_goes_on_from_another_history(bench: conformance.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of the events that were taken in is another, or is missing, or new ones begin anew."""
    wrong: list[str] = []
    right: list[bool] = []
    goes_on = sdk.Turns.goes_on

    def asked(turns: sdk.Turns, request: Any) -> bool:
        told = turns.told
        assert told is not None
        for place in range(len(told.pastEvents) + len(told.newEvents)):
            for change in ("other", "missing"):
                another = type(request)()
                another.CopyFrom(request)
                if change == "other":
                    another.pastEvents[place].timestamp.seconds += 1
                else:
                    del another.pastEvents[place]
                if goes_on(turns, another):
                    wrong.append(f"{change} {place}")
        rewound = type(request)()
        rewound.CopyFrom(request)
        rewound.newEvents.add().executionRewound.SetInParent()
        if goes_on(turns, rewound):
            wrong.append("rewound")
        right.append(goes_on(turns, request))
        return right[-1]

    monkeypatch.setattr(sdk.Turns, "goes_on", asked)
    bench.program("walk", lambda host, call: walk(host, 4))
    await bench.begin("walk", "a")
    assert await bench.output("a") == [0, 1, 2, 3]
    assert wrong == []
    assert right == [True] * 4


async def test_a_run_that_the_official_client_rewinds_is_run_again(
    bench: conformance.Bench, scheduler: Scheduler
) -> None:
    """The SDK answers the first turn of that without running anything."""

    def steps(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("x", "same", 1)
        yield
        return protocol.Ended(failure=protocol.Failure("Broken", "as ever"))

    bench.program("steps", steps)
    await bench.begin("steps", "a")
    hub = hub_of(bench)
    ended = await hub.client.wait("a", benches.PATIENCE_SECONDS)
    assert ended is not None and ended.status == "Failed"
    async with official(scheduler) as by_hand:
        await by_hand.rewind_orchestration("a")
    again = await hub.client.wait("a", benches.PATIENCE_SECONDS)
    assert again is not None and again.status == "Failed" and again.updated > ended.updated


@pytest.mark.parametrize("suspended", [True, False])
async def test_a_run_that_is_resumed_once_too_often_goes_on(
    bench: conformance.Bench, scheduler: Scheduler, suspended: bool
) -> None:
    """Whoever resumes a run twice has not meant to end it."""
    gate = await held_before_its_walk(bench)
    async with official(scheduler) as by_hand:
        if suspended:
            await by_hand.suspend_orchestration("a")
            await by_hand.resume_orchestration("a")
        await by_hand.resume_orchestration("a")
    gate.open.set()
    assert await bench.output("a") == [0, 1, 2]


async def test_a_run_that_is_suspended_as_it_schedules_steps_schedules_them_once(
    bench: conformance.Bench, scheduler: Scheduler
) -> None:
    """Also where it has turns before it is resumed."""

    def steps(host: protocol.Host, call: bytes) -> protocol.Steps:
        yield
        host.timer("soon", host.now)
        host.activity("x", "same", 1)
        landed = [(yield).key, (yield).key, (yield).key]
        return protocol.Ended(benches.encode(sorted(landed)))

    bench.program("steps", steps)
    await bench.begin("steps", "a")
    hub = hub_of(bench)
    await hub.stop()
    await bench.send("a")
    async with official(scheduler) as by_hand:
        await by_hand.suspend_orchestration("a")
        await hub.start()
        await asyncio.to_thread(scheduler.until_quiet)
        await bench.send("a")
        await by_hand.resume_orchestration("a")
        assert await bench.output("a") == ["go", "soon", "x"]
    assert scheduler.scheduled("a") == ["same"]


async def test_a_run_that_is_suspended_twice_goes_on_once_it_is_resumed(
    bench: conformance.Bench, scheduler: Scheduler
) -> None:
    """With what came meanwhile, and in its order."""
    bench.program("collecting", lambda host, call: collecting(host, [], 3))
    await bench.begin("collecting", "a")
    hub = hub_of(bench)
    await hub.stop()
    async with official(scheduler) as by_hand:
        for number in range(3):
            await bench.send("a", "go", benches.encode(number))
            await by_hand.suspend_orchestration("a")
        await hub.start()
        await asyncio.to_thread(scheduler.until_quiet)
        await by_hand.resume_orchestration("a")
        assert await bench.output("a") == [0, 1, 2]
