from __future__ import annotations

import random

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from tests.durabletask import hosting
from tests.workflow import support

KIB = 1024
MOST_BYTES = 16 * KIB
FLAT = 1.2


class Step(Executor):
    """Passes on how many steps are left, and keeps a text of its own for each."""

    def __init__(self, id: str, size: int) -> None:
        super().__init__(id)
        self.size = size

    @handler
    async def step(self, left: int, ctx: WorkflowContext[int, int]) -> None:
        if self.size:
            ctx.set_state(f"text {left}", random.Random(left).randbytes(self.size // 2).hex())
        if left > 1:
            await ctx.send_message(left - 1)
        else:
            await ctx.yield_output(left)


def loop(size: int) -> Workflow:
    here, there = Step("here", size), Step("there", size)
    builder = WorkflowBuilder(name="flow", start_executor=here, max_iterations=10_000, output_from="all")
    return builder.add_edge(here, there).add_edge(there, here).build()


async def bytes_of_a_step(steps: int, size: int) -> float:
    async with hosting.SchedulerHost(support.app_of(loop(size))) as host:
        assert await host.outputs(await host.start("flow", steps)) == [1]
        return host.scheduler.bytes / steps


async def test_bytes_of_a_step_do_not_grow_with_steps_nor_with_state() -> None:
    short, long = await bytes_of_a_step(30, 0), await bytes_of_a_step(300, 0)
    assert long <= short * FLAT
    little, much = await bytes_of_a_step(60, KIB), await bytes_of_a_step(60, 256 * KIB)
    assert much <= little * FLAT
    assert max(long, much) <= MOST_BYTES


@pytest.mark.soak
async def test_100_mb_of_state_over_1000_steps_finish() -> None:
    """What goes through the engine for a step stays small."""
    assert await bytes_of_a_step(1_000, 100 * KIB) <= MOST_BYTES
