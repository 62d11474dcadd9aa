"""What a turn costs with much that is out at once: the SDK runs an orchestrator over all of its history each time."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.differential import programs
from tests.workflow import support

from perdure.hosts.azure import orchestration, statuses, wire
from perdure.hosts.local import host as local
from perdure.hosts.local.functions import history, sdk
from perdure.hosts.local.functions.history import Kind
from perdure.hosts.replay import life, lives
from perdure.hosts.replay import wire as texts
from perdure.testing.conformance.orchestrations import bench
from perdure.workflow import protocol

BATCH = 32
"""So many results at a time the extension hands over at most."""

FLAT = 1.2


@pytest.fixture(autouse=True)
def quiet() -> None:
    sdk.quiet()


def wide(host: protocol.Host, call: bytes) -> protocol.Steps:
    for step in range(int(call)):
        host.activity(f"s{step}", "work", step)
    for _ in range(int(call)):
        yield
    return protocol.Ended(b"done")


def begun(input: Any) -> list[history.Event]:
    started = history.event(Kind.EXECUTION_STARTED, 100.0, Name="f", Input=json.dumps(input), Version=None)
    return [history.event(Kind.ORCHESTRATOR_STARTED, 100.0), started]


def decided(handle: Any, input: Any, events: list[history.Event]) -> sdk.Decision:
    """Run a function over a history."""
    context = {
        "history": history.played(events),
        "input": json.dumps(input),
        "instanceId": "i",
        "isReplaying": False,
        "parentInstanceId": None,
        "upperSchemaVersion": sdk.SCHEMA_V2,
        "upperSchemaVersionNew": sdk.SCHEMA_V3,
    }
    return sdk.decide(handle, context)


class Instance:
    """An instance of the function, with the history that its activities make."""

    def __init__(self, count: int) -> None:
        self.lives = lives.Replays()
        self._handle: Any = orchestration.function(bench.Scripted("wide", wide, None), self.lives)
        self._input = wire.start(texts.Start(b"%d" % count))
        self._events = begun(self._input)
        reply = json.dumps(texts.pack(texts.Reply("result", bench.encode(None))))
        scheduled = [history.event(Kind.TASK_SCHEDULED, 100.0, number, Name="work") for number in range(count)]
        self._next = [*scheduled, history.event(Kind.ORCHESTRATOR_COMPLETED, 100.0)]
        self._results = [
            history.event(Kind.TASK_COMPLETED, 101.0, TaskScheduledId=number, Result=reply) for number in range(count)
        ]

    def turn(self) -> sdk.Decision:
        """Run the function over what there is; then some activities land."""
        decision = decided(self._handle, self._input, self._events)
        landed, self._results = self._results[:BATCH], self._results[BATCH:]
        self._events += [*self._next, history.event(Kind.ORCHESTRATOR_STARTED, 101.0), *landed]
        self._next = [history.event(Kind.ORCHESTRATOR_COMPLETED, 101.0)]
        return decision


def last_turn(count: int, *, elsewhere: bool) -> int:
    """Give how many calls of functions the last turn takes, in the process that had those before, or in another one."""
    made = Instance(count)
    turns = -(-count // BATCH)
    assert not any(made.turn().done for _ in range(turns))
    if elsewhere:
        made.lives.close()
    calls = 0

    def called(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(called)
    try:
        decision = made.turn()
    finally:
        sys.setprofile(None)
    assert decision.done
    assert decision.output is not None
    return calls


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_turn_costs_for_each_of_many_activities_what_it_costs_for_each_of_a_few(elsewhere: bool) -> None:
    few, many = last_turn(50, elsewhere=elsewhere) / 50, last_turn(400, elsewhere=elsewhere) / 400
    assert many <= few * FLAT


def test_what_was_worked_out_is_not_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process takes in each landing once, however often the history is run over."""
    landed: list[int] = []
    land = life.Life.land

    def counted(self: life.Life, serial: int, reply: texts.Reply | texts.End | None) -> life.Turn:
        landed.append(serial)
        return land(self, serial, reply)

    monkeypatch.setattr(life.Life, "land", counted)
    made = Instance(200)
    while not made.turn().done:
        pass
    assert sorted(landed) == list(range(1, 201))


def test_what_is_sent_is_packed_once_and_the_status_once_for_each_landing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the history is run over: to pack all of it again would take most of a wide turn."""
    packed: list[str] = []
    shown: list[texts.Status] = []
    pack, show = texts.pack, statuses.show

    def packing(value: Any) -> str:
        if isinstance(value, texts.Task):
            packed.append(value.key)
        return pack(value)

    def showing(status: texts.Status) -> Any:
        shown.append(status)
        return show(status)

    monkeypatch.setattr(texts, "pack", packing)
    monkeypatch.setattr(statuses, "show", showing)
    made = Instance(200)
    while not made.turn().done:
        pass
    assert sorted(packed) == sorted(f"s{step}" for step in range(200))
    assert len(shown) == 201


async def test_a_graph_that_is_too_large_to_travel_fails_the_run_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orchestration, "CALL_LIMIT_BYTES", 64)
    program = programs.generate(1)
    app = support.app_of(programs.build(program, programs.Log()))
    async with local.LocalHost(app, replay=True) as host:
        with pytest.raises(local.RunFailed, match="graph takes more than"):
            await host.outputs(await host.start("program", program.value))


DAY_SECONDS = 86_400.0


def timers(actions: list[Any]) -> list[float]:
    """When the timers among some actions fire, in the order in which they were asked for."""
    found: list[float] = []
    for action in actions:
        found += [history.seconds(action["fireAt"])] if action["actionType"] == 5 else []
        found += timers(action.get("compoundActions", []))
    return found


def test_a_timer_that_is_far_off_comes_by_hops_that_a_queue_can_hold() -> None:
    """A message of Azure Storage lives for a week; the timer rings once, when it is due."""

    def far(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.timer("far", host.now + 10 * DAY_SECONDS)
        yield
        return protocol.Ended(b"rang at %d" % host.now)

    handle = orchestration.function(bench.Scripted("far", far, None), lives.Replays())
    input = wire.start(texts.Start(b""))
    events, now, hops = begun(input), 100.0, 0
    decision = decided(handle, input, events)
    while not decision.done:
        due = timers(decision.actions[0])[hops]
        assert now < due <= now + 6 * DAY_SECONDS
        created = history.event(Kind.TIMER_CREATED, now, hops, FireAt=history.timestamp(due))
        now = due
        events += [created, history.event(Kind.ORCHESTRATOR_STARTED, now)]
        events.append(history.event(Kind.TIMER_FIRED, now, TimerId=hops, FireAt=history.timestamp(due)))
        hops += 1
        decision = decided(handle, input, events)
    assert texts.unpack(decision.output, texts.End).output == b"rang at %d" % (100 + 10 * DAY_SECONDS)


def test_an_orchestration_that_ends_takes_back_its_timers() -> None:
    """One that is left would hold up the end until it has fired."""

    def leaving(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.timer("far", host.now + DAY_SECONDS)
        host.activity("a", "work", None)
        yield
        return protocol.Ended(b"done")

    handle = orchestration.function(bench.Scripted("leaving", leaving, None), lives.Replays())
    input = wire.start(texts.Start(b""))
    assert not decided(handle, input, begun(input)).done
    result = json.dumps(texts.pack(texts.Reply("result", bench.encode(None))))
    scheduled = [
        history.event(Kind.TIMER_CREATED, 100.0, 1, FireAt=history.timestamp(100.0 + DAY_SECONDS)),
        history.event(Kind.TASK_SCHEDULED, 100.0, 0, Name="work"),
    ]
    landed = history.event(Kind.TASK_COMPLETED, 101.0, TaskScheduledId=0, Result=result)
    events = [*begun(input), *scheduled, history.event(Kind.ORCHESTRATOR_STARTED, 101.0), landed]
    decision = decided(handle, input, events)
    assert decision.done
    (together,) = decision.actions[0]
    assert [part["isCanceled"] for part in together["compoundActions"] if part["actionType"] == 5] == [True]
