from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from tests.people import desk, programs

from perdure import Deadline

DID: list[str] = []
BROKEN: set[str] = set()


@pytest.fixture(autouse=True)
def fresh() -> None:
    DID.clear()
    BROKEN.clear()


class Worker(Executor):
    """Notes what it does, counts in the shared state, and raises while it is broken."""

    @handler
    async def work(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        DID.append(self.id)
        ctx.set_state(self.id, ctx.get_state(self.id, 0) + 1)
        if self.id in BROKEN:
            raise RuntimeError(f"{self.id} is broken")
        await ctx.yield_output(f"{self.id} of {text}")
        await ctx.send_message(text)


class Last(Executor):
    """Yields what the others left in the shared state."""

    @handler
    async def sum_up(self, texts: list[str], ctx: WorkflowContext[str, str]) -> None:
        DID.append(self.id)
        await ctx.yield_output(" ".join(f"{name}={ctx.get_state(name)}" for name in ("first", "left", "right")))


def diamond() -> Workflow:
    first, left, right, last = Worker(id="first"), Worker(id="left"), Worker(id="right"), Last(id="last")
    builder = WorkflowBuilder(start_executor=first).add_fan_out_edges(first, [left, right])
    return builder.add_fan_in_edges([left, right], last).build()


async def ended(at: Any) -> Any:
    run = await at.host.runs.wait(at.run, desk.PATIENCE_SECONDS)
    assert run is not None and run.status in ("Failed", "Completed"), run
    return run


async def rewind(at: Any) -> Any:
    return await at.client.post(f"{at.host.url}/api/runs/{at.run}/rewind")


@pytest.mark.parametrize("crash", ["", "before", "after"])
@pytest.mark.parametrize("broken", ["first", "left", "right"])
async def test_a_run_that_is_rewound_goes_on_from_the_failed_step_and_what_had_completed_stays(
    broken: str, crash: str
) -> None:
    BROKEN.add(broken)
    async with desk.hosted(desk.app_of(diamond)) as start:
        at = await start("x")
        assert (await ended(at)).failure.message == f"{broken} is broken"
        before = await at.host.runs.events(at.run)
        landed = {event.data["executorId"] for event in before if event.type == "executor_completed"}
        BROKEN.clear()
        DID.clear()
        if crash == "before":
            await at.again()
        answer = await rewind(at)
        if crash == "after":
            await at.again()
        output = await at.output()
        after = await at.host.runs.events(at.run)

    assert answer.status_code == 202
    assert not landed & set(DID)
    assert output == ["first of x", "left of x", "right of x", "first=1 left=1 right=1"]
    assert after[: len(before)] == before
    assert [event.id for event in after] == list(range(1, len(after) + 1))
    assert after[len(before)].type == "rewound" and after[-1].type == "completed"


async def test_a_run_that_fails_again_can_be_rewound_again() -> None:
    BROKEN.add("right")
    async with desk.hosted(desk.app_of(diamond)) as start:
        at = await start("x")
        for _ in range(3):
            assert (await ended(at)).status == "Failed"
            assert (await rewind(at)).status_code == 202
            await at.again()
        BROKEN.clear()
        await ended(at)
        await rewind(at)
        output = await at.output()

    assert output[-1] == "first=1 left=1 right=1"


async def test_two_rewinds_at_once_are_one() -> None:
    BROKEN.add("left")
    async with desk.hosted(desk.app_of(diamond)) as start:
        at = await start("x")
        await ended(at)
        BROKEN.clear()
        DID.clear()
        answers = await asyncio.gather(*(rewind(at) for _ in range(8)))
        await at.output()

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    assert DID.count("left") == 1


async def test_what_has_not_failed_is_not_rewound() -> None:
    async with desk.hosted(desk.app_of(diamond)) as start:
        at = await start("x")
        await at.output()
        completed = await rewind(at)
        unknown = await at.client.post(f"{at.host.url}/api/runs/nobody/rewind")

    assert (completed.status_code, unknown.status_code) == (409, 404)
    assert completed.json()["error"].startswith("The run 'r' is Completed")


async def test_requests_that_were_open_when_the_run_failed_are_open_again_with_their_deadlines() -> None:
    class Clerk(programs.Buyer):
        """A buyer that cannot take in what it is told while it is broken."""

        @handler
        async def recount(self, text: str, ctx: WorkflowContext[str, str]) -> None:
            if self.id in BROKEN:
                raise RuntimeError("the clerk is out")
            await ctx.yield_output("recounted")

    class Front(Executor):
        @handler
        async def go(self, count: int, ctx: WorkflowContext[int | str]) -> None:
            await ctx.send_message(count)
            await ctx.send_message("again")

    def build() -> Workflow:
        front = Front(id="front")
        return WorkflowBuilder(start_executor=front).add_edge(front, Clerk("clerk")).build()

    BROKEN.add("clerk")
    no = programs.Verdict(approved=False)
    async with desk.hosted(desk.app_of(build, deadlines=Deadline(3600, answer=no))) as start:
        at = await start(2)
        assert (await ended(at)).status == "Failed"
        assert await at.pending() == []
        BROKEN.clear()
        await rewind(at)
        first, second = await at.parked(1)
        await at.say(second["requestId"], {"approved": True})
        await at.say(first["requestId"], {"approved": True})
        output = await at.output()

    assert first["deadline"]
    assert output == ["recounted", "2:True:0", "2:True:0 1:True:0"]


async def test_a_condition_that_raised_is_asked_again() -> None:
    def build() -> Workflow:
        def fits(text: str) -> bool:
            if "condition" in BROKEN:
                raise RuntimeError("no condition")
            return True

        first, second = Worker(id="first"), Worker(id="second")
        return WorkflowBuilder(start_executor=first).add_edge(first, second, condition=fits).build()

    BROKEN.add("condition")
    async with desk.hosted(desk.app_of(build)) as start:
        at = await start("x")
        assert (await ended(at)).failure.message == "no condition"
        BROKEN.clear()
        await rewind(at)
        output = await at.output()

    assert output == ["first of x", "second of x"]
