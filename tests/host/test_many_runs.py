"""Many runs at once share the executors of an app and nothing else."""

from __future__ import annotations

import asyncio
import os
import pathlib
from concurrent import futures

from agent_framework import Executor, WorkflowBuilder, WorkflowContext, executor, handler

from perdure import AgentFunctionApp
from perdure.hosts.local import host as local

from . import served

RUNS = 200
ROUNDS = 5
SAME = 50


class Counter(Executor):
    """Remembers in an attribute and in the shared state what it was given."""

    def __init__(self) -> None:
        super().__init__(id="counter")
        self.seen: list[str] = []

    @handler
    async def count(self, text: str, ctx: WorkflowContext[str]) -> None:
        self.seen.append(text)
        before = list(self.seen)
        # Every other run has its turn here.
        for _ in range(3):
            await asyncio.sleep(0)
        assert self.seen == before
        ctx.set_state("seen", [*ctx.get_state("seen", []), text])
        await ctx.send_message(text)


@executor(id="again")
async def again(text: str, ctx: WorkflowContext[str, str]) -> None:
    seen: list[str] = ctx.get_state("seen")
    if len(seen) < ROUNDS:
        await ctx.send_message(f"{text}+")
    else:
        await ctx.yield_output(" ".join(seen))


async def test_nothing_leaks_between_200_runs_at_once() -> None:
    counter = Counter()
    builder = WorkflowBuilder(name="flow", start_executor=counter)
    app = AgentFunctionApp(workflow=builder.add_edge(counter, again).add_edge(again, counter).build())
    async with local.LocalHost(app) as host:
        runs = [await host.start("flow", f"run{number}") for number in range(RUNS)]
        outputs = await asyncio.gather(*(host.outputs(run) for run in runs))
    for number, output in enumerate(outputs):
        assert output == [" ".join(f"run{number}{'+' * times}" for times in range(ROUNDS))]
    assert counter.seen == [], "the app's own executor was run"


ONCE = """
    @executor(id="once")
    async def once(text: str, ctx: WorkflowContext[Never, str]) -> None:
        told(text)
        await asyncio.to_thread((HERE / "gate").read_text)
        await ctx.yield_output(text)


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=once).build())
"""


def test_one_id_started_50_times_at_once_is_one_run(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", ONCE)
    os.mkfifo(folder / "gate")
    with served.start(folder) as host:
        with futures.ThreadPoolExecutor(SAME) as threads:
            posted = [threads.submit(served.post, host.url, "same", run_id="r") for _ in range(SAME)]
            assert {future.result().status_code for future in posted} == {202}
        assert served.post(host.url, "other", run_id="r").status_code == 409
        served.let_through(folder / "gate")
        assert served.finished(host.url, "r")["output"] == ["same"]
        assert served.post(host.url, "same", run_id="r").json()["instanceId"] == "r"
    assert served.ran(folder) == ["same"]
