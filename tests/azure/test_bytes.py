"""What goes through Durable Functions in a long run with much state, counted."""

from __future__ import annotations

import json
import os
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import pytest
from agent_framework import Workflow, WorkflowBuilder, WorkflowContext, executor

from perdure import AgentFunctionApp
from perdure.hosts.azure import hosting
from perdure.hosts.local import host

STEP_LIMIT_BYTES = 16 * 1024
STATUS_LIMIT_BYTES = 16 * 1024
QUEUE_MESSAGE_LIMIT_BYTES = 64 * 1024
HEAVY_VALUES = 3
OVERHEAD_BYTES = 32
"""What a value takes beside its text."""


def growing(steps: int, size: int) -> Workflow:
    """Two executors in turn; each keeps a text of its own in the shared state."""

    def step(name: str) -> Any:
        @executor(id=name)
        async def keep(left: int, ctx: WorkflowContext[int, int]) -> None:
            ctx.set_state(f"text {left}", os.urandom(size // 2).hex())
            if left:
                await ctx.send_message(left - 1)
            else:
                await ctx.yield_output(len(ctx.get_state(f"text {steps // 2}")))

        return keep

    one, other = step("one"), step("other")
    builder = WorkflowBuilder(name="growing", start_executor=one, max_iterations=steps + 10)
    return builder.add_edge(one, other).add_edge(other, one).build()


def heavy(steps: int) -> Workflow:
    """Each step sends, and sets, the most that travels through the engine and not by the store."""

    def step(name: str) -> Any:
        @executor(id=name)
        async def send(text: str, ctx: WorkflowContext[str, int]) -> None:
            left = int(text[:4])
            for number in range(HEAVY_VALUES):
                size = hosting.INLINE.changes // HEAVY_VALUES - OVERHEAD_BYTES
                ctx.set_state(f"text {left} {number}", os.urandom(size // 2).hex())
            if left:
                await ctx.send_message(f"{left - 1:04}" + os.urandom(hosting.INLINE.message // 2).hex()[:-8])
            else:
                await ctx.yield_output(len(text))

        return send

    one, other = step("one"), step("other")
    builder = WorkflowBuilder(name="heavy", start_executor=one, max_iterations=steps + 10)
    return builder.add_edge(one, other).add_edge(other, one).build()


async def run(
    steps: int, size: int, monkeypatch: pytest.MonkeyPatch, flow: Workflow | None = None
) -> list[tuple[str, int]]:
    """Run it; give the kind and size of everything that was recorded, custom statuses in UTF-16."""
    found: list[tuple[str, int]] = []
    say = df.DurableOrchestrationContext.set_custom_status

    def counted(self: df.DurableOrchestrationContext, status: Any) -> None:
        assert status, "a custom status is never empty"
        found.append(("status", 2 * len(json.dumps(status))))
        say(self, status)

    monkeypatch.setattr(df.DurableOrchestrationContext, "set_custom_status", counted)
    app = AgentFunctionApp(workflow=flow or growing(steps, size))
    async with host.LocalHost(app, replay=True) as here:
        given = steps if flow is None else f"{steps:04}"
        assert await here.run(flow.name if flow else "growing", given, run_id="r", timeout=3600) == [size]
        after = 0
        while page := here.engine.events("r", after, 500):
            found += [("event", len(event.data)) for event in page]
            after = page[-1].id
    return found


def check(found: list[tuple[str, int]], steps: int) -> list[int]:
    events = [size for kind, size in found if kind == "event"]
    assert max(events) <= QUEUE_MESSAGE_LIMIT_BYTES // 4
    assert sum(events) / steps <= STEP_LIMIT_BYTES
    assert max(size for kind, size in found if kind == "status") <= STATUS_LIMIT_BYTES
    return events


async def test_a_long_run_with_much_state_stays_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    check(await run(60, 100_000, monkeypatch), 60)


async def test_steps_that_are_as_heavy_as_may_be_stay_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small enough to travel is bounded for a step as a whole, and a late step costs what an early one did."""
    events = check(await run(120, hosting.INLINE.message - 4, monkeypatch, heavy(120)), 120)
    late, early = events[-len(events) // 4 :], events[len(events) // 4 : len(events) // 2]
    assert sum(late) / len(late) <= 1.2 * sum(early) / len(early)


@pytest.mark.soak
async def test_a_thousand_steps_and_100_mb_of_state_stay_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    events = check(await run(1000, 100_000, monkeypatch), 1000)
    late, early = events[-len(events) // 4 :], events[len(events) // 4 : len(events) // 2]
    assert sum(late) / len(late) <= 1.2 * sum(early) / len(early), "a late step costs what an early one did"
