"""What a step costs does not grow with the state, the number of keys or the run's past."""

from __future__ import annotations

import asyncio
import collections
import itertools
import pathlib
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import apsw
import msgspec
import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler

from perdure import AgentFunctionApp
from perdure.engine import records
from perdure.hosts.local import host as local
from perdure.workflow import activity, orchestrator, protocol

STEPS = 200
KEYS = 10_000
LARGE_BYTES = 1 << 20
ENGINE_LIMIT_BYTES = 4 * 1024
HUB_LIMIT_BYTES = 16 * 1024
WINDOW = 49
LOOKED_AT = (3, 52, 101, 150, 199)


class Gates:
    """Where the run stands still to be looked at, on disk."""

    def __init__(self) -> None:
        self.reached = {step: asyncio.Event() for step in LOOKED_AT}
        self.open = {step: asyncio.Event() for step in LOOKED_AT}


class Keeper(Executor):
    """Fills the state in its first step and changes one key in each further one."""

    def __init__(self, id: str, gates: Gates) -> None:
        super().__init__(id=id)
        # A function is shared by all copies of the executor; the events would be copied with it.
        self.gates: Callable[[], Gates] = lambda: gates

    @handler
    async def go(self, step: int, ctx: WorkflowContext[int, int]) -> None:
        gates = self.gates()
        if step in gates.reached:
            gates.reached[step].set()
            await gates.open[step].wait()
        if step == 1:
            for number in range(KEYS):
                ctx.set_state(f"key:{number}", f"value of {number}")
            ctx.set_state("large", random.Random(0).randbytes(LARGE_BYTES))
        else:
            key = f"key:{step * 47 % KEYS}"
            ctx.set_state(key, f"{ctx.get_state(key)}, changed in step {step}")
        if step < STEPS:
            await ctx.send_message(step + 1)
        else:
            await ctx.yield_output(len(ctx.get_state("large")))


@dataclass
class Measured:
    """Bytes by step.

    Attributes:
        calls: Of the encoded work items.
        results: Of the encoded results.
        blobs: Of the payloads that a step made.
    """

    calls: dict[int, int] = field(default_factory=lambda: collections.defaultdict(int))
    results: dict[int, int] = field(default_factory=lambda: collections.defaultdict(int))
    blobs: dict[int, int] = field(default_factory=lambda: collections.defaultdict(int))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    seen = Measured()
    run = activity.Activities.__call__

    async def counted(
        self: activity.Activities, instance_id: str, key: str, call: orchestrator.Call
    ) -> protocol.Outcome:
        outcome = await run(self, instance_id, key, call)
        seen.calls[call.superstep] += len(msgspec.msgpack.encode(call))
        seen.results[call.superstep] += len(outcome.data)
        seen.blobs[call.superstep] += sum(len(blob.body) for blob in outcome.blobs)
        return outcome

    monkeypatch.setattr(activity.Activities, "__call__", counted)
    return seen


def build(gates: Gates) -> Workflow:
    first, second = Keeper("first", gates), Keeper("second", gates)
    builder = WorkflowBuilder(name="keep", start_executor=first, max_iterations=STEPS + 1)
    return builder.add_edge(first, second).add_edge(second, first).build()


def hub_bytes(hub: pathlib.Path) -> int:
    """The size of the hub's files, their logs moved into them."""
    total = 0
    for name in ("hub.db", "payloads.db"):
        connection = apsw.Connection(str(hub / name))
        connection.set_busy_timeout(5_000)
        ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(truncate)").fetchall()
        assert not busy
        connection.close()
        total += (hub / name).stat().st_size
    return total


def history_bytes(hub: pathlib.Path) -> dict[int, int]:
    """The bytes of the history's rows, by step."""
    found: dict[int, int] = collections.defaultdict(int)
    connection = apsw.Connection(str(hub / "hub.db"))
    for (row,) in connection.execute("SELECT record FROM history"):
        assert isinstance(row, bytes)
        key = records.decode_record(row).key
        found[int(key.partition("/")[0]) if key else 0] += len(row)
    connection.close()
    return found


async def test_a_step_costs_the_same_whatever_the_state_and_the_past(
    measured: Measured, tmp_path: pathlib.Path
) -> None:
    gates = Gates()
    hub = tmp_path / "hub"
    sizes: list[int] = []
    async with local.LocalHost(AgentFunctionApp(workflow=build(gates)), hub=hub) as host:
        run = await host.start("keep", 1)
        for step in LOOKED_AT:
            await gates.reached[step].wait()
            sizes.append(await asyncio.to_thread(hub_bytes, hub))
            gates.open[step].set()
        assert await host.outputs(run) == [LARGE_BYTES]
        state = await host.state(run)
    assert len(state) == KEYS + 1
    assert state["key:47"] == "value of 47" and state["key:94"] == "value of 94, changed in step 2"

    history = history_bytes(hub)
    through = {step: history[step] + measured.calls[step] + measured.results[step] for step in range(2, STEPS + 1)}
    assert max(through.values()) <= ENGINE_LIMIT_BYTES
    # A step carries what changed since the base was last written, which swings: windows are compared, not steps.
    early, late = (
        statistics.mean(through[step] for step in range(last - WINDOW, last)) for last in (LOOKED_AT[2], LOOKED_AT[4])
    )
    assert late == pytest.approx(early, rel=0.2)
    assert through[3] <= through[199] <= max(through.values())

    growth = [(after - before) / WINDOW for before, after in itertools.pairwise(sizes)]
    assert max(growth) <= HUB_LIMIT_BYTES
    written = {step: history[step] + measured.blobs[step] for step in range(3, STEPS + 1)}
    assert max(written.values()) <= HUB_LIMIT_BYTES
