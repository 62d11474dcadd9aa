"""What hosts whose engine replays hold of runs between their turns."""

from __future__ import annotations

import pytest
from tests.people import desk, programs
from tests.replay.conftest import Make

from perdure.hosts.replay import activities, life
from perdure.payloads import owners
from perdure.workflow import activity


async def test_a_host_that_stops_lets_go_of_the_runs_it_holds(make_host: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for a person is in memory, and its generator is not left to the garbage collector."""
    begun: list[life.Life] = []
    closed: list[life.Life] = []
    begin, close = life.Life.begin, life.Life.close

    def beginning(self: life.Life) -> life.Turn:
        begun.append(self)
        return begin(self)

    def closing(self: life.Life) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(life.Life, "begin", beginning)
    monkeypatch.setattr(life.Life, "close", closing)
    async with make_host(desk.app_of(programs.buying())) as host:
        await host.start("workflow", 1, run_id="r")
        async for event in host.runs.follow("r"):
            if event.type == "parked":
                break
        assert begun
    assert all(one in closed for one in begun)


async def test_executors_of_a_run_are_let_go_of_where_too_many_runs_are_at_hand(
    make_host: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step has them made anew, with what they kept."""
    released: list[str] = []
    release = activity.Activities.release

    def releasing(self: activity.Activities, run: str) -> None:
        released.append(run)
        release(self, run)

    monkeypatch.setattr(activity.Activities, "release", releasing)
    monkeypatch.setattr(activities, "RUNS_AT_HAND", 0)
    async with make_host(desk.app_of(programs.buying())) as host:
        await host.start("workflow", 1, run_id="r")
        async for event in host.runs.follow("r"):
            if event.type == "parked":
                break
        assert "r" in map(owners.run_of, released)
