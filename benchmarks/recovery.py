"""Many runs in flight, the host killed: how soon after a start all of them move again."""

from __future__ import annotations

import os
import sys

# This folder's http.py must not hide the standard library's: the folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import asyncio
import collections
import json
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from benchmarks import figures

from perdure import AgentFunctionApp
from perdure.engine import hub as hubs
from perdure.engine import instance, reader
from perdure.hosts.local import host
from perdure.routes import runs as routes_runs

STEPS = 50
RUNS = 1_000
PATIENCE_SECONDS = 120.0

T = TypeVar("T")


class Gate:
    """Holds each run at a step of its own, as a slow model would, until the process is killed."""

    def __init__(self) -> None:
        self.closed = False
        self.held = 0
        self.changed = asyncio.Event()

    async def pass_through(self, run: int, step: int) -> None:
        if self.closed and step == run % STEPS:
            self.held += 1
            self.changed.set()
            await asyncio.Event().wait()


gate = Gate()


class Step(Executor):
    @handler
    async def step(self, place: list[int], ctx: WorkflowContext[list[int], int]) -> None:
        run, step = place
        await gate.pass_through(run, step)
        if step + 1 < STEPS:
            await ctx.send_message([run, step + 1])
        else:
            await ctx.yield_output(run)


def build() -> Workflow:
    here, there = Step("here"), Step("there")
    builder = WorkflowBuilder(name="workflow", start_executor=here, max_iterations=2 * STEPS, output_from="all")
    return builder.add_edge(here, there).add_edge(there, here).build()


def _app(hub: str) -> AgentFunctionApp:
    return AgentFunctionApp(workflow=build(), app_folder=hub)


async def hold(hub: str, count: int) -> None:
    """Bring so many runs to their steps, say so, and stay until killed."""
    gate.closed = True
    async with host.LocalHost(_app(hub), hub=hub) as hosting:
        await asyncio.gather(*(hosting.start("workflow", [run, 0], run_id=f"run-{run}") for run in range(count)))
        while gate.held < count:
            gate.changed.clear()
            await gate.changed.wait()
        print("held", flush=True)
        await asyncio.Event().wait()


class Landings:
    """A host's log that notes when each run was first heard of, and when it ended."""

    as_json = False

    def __init__(self, count: int) -> None:
        self._count = count
        self.first: dict[str, float] = {}
        self.ended: collections.Counter[str] = collections.Counter()
        self.all_moving = asyncio.Event()
        self.all_ended = asyncio.Event()

    def event(self, run_id: str, workflow: str, event: routes_runs.Event) -> None:
        # What is told is committed, and a step is what a run that was in flight commits first.
        if run_id not in self.first:
            self.first[run_id] = time.perf_counter()
            if len(self.first) == self._count:
                self.all_moving.set()
        if event.type in ("completed", "failed"):
            self.ended[event.type] += 1
            if self.ended.total() == self._count:
                self.all_ended.set()


class Stopwatch:
    """Adds up what calls of some functions take."""

    def __init__(self) -> None:
        self.seconds: collections.Counter[str] = collections.Counter()

    def wrap(self, name: str, call: Callable[..., T]) -> Callable[..., T]:
        def timed(*args: Any, **named: Any) -> T:
            began = time.perf_counter()
            try:
                return call(*args, **named)
            finally:
                self.seconds[name] += time.perf_counter() - began  # type: ignore[assignment]  # a Counter adds floats

        return timed


async def recover(hub: str, count: int) -> dict[str, float]:
    """Open the hub of the killed host; what was in flight goes on by itself."""
    watch = Stopwatch()
    reader.Readers.rows = watch.wrap("read", reader.Readers.rows)  # type: ignore[method-assign]
    instance.Live.rebuild = watch.wrap("rebuild", instance.Live.rebuild)  # type: ignore[method-assign]
    hubs.open_hub = watch.wrap("open", hubs.open_hub)
    landings = Landings(count)
    app = _app(hub)
    began = time.perf_counter()
    async with host.LocalHost(app, hub=hub, log=landings) as hosting:
        opened = time.perf_counter()
        parts = dict(watch.seconds)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await landings.all_moving.wait()
            moving = time.perf_counter()
            await landings.all_ended.wait()
        ended = time.perf_counter()
        for run in (0, count // 2, count - 1):
            assert await hosting.outputs(f"run-{run}") == [run]
    assert landings.ended == {"completed": count}, landings.ended
    return {
        "start": opened - began,
        "read": parts["read"],
        "rebuild": parts["rebuild"],
        "open": parts["open"],
        "steps": opened - began - parts["read"] - parts["rebuild"] - parts["open"],
        "first": min(landings.first.values()) - began,
        "moving": moving - began,
        "ended": ended - began,
    }


def _round(place: str, count: int) -> dict[str, Any]:
    hub = tempfile.mkdtemp(dir=place)
    command = [sys.executable, os.path.abspath(__file__), "--hub", hub, "--count", str(count), "--phase"]
    holding = subprocess.Popen([*command, "hold"], stdout=subprocess.PIPE, text=True)
    assert holding.stdout is not None
    try:
        said = holding.stdout.readline()
    finally:
        holding.kill()
        holding.wait()
        holding.stdout.close()
    if said.strip() != "held":
        raise click.ClickException("The process that was to be killed ended by itself.")
    began = time.perf_counter()
    told = subprocess.run([*command, "recover"], check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(told)
    found["process"] = time.perf_counter() - began
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="3 rounds instead of 5.")
@click.option("--only", type=click.Choice(["recovery"]), help="There is one part.")
@click.option("--count", type=int, default=RUNS, show_default=True, help="How many runs.")
@click.option("--json", "file", metavar="FILE", help="Write every figure there too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False), help="Where hubs are made.  [system's]")
@click.option("--phase", type=click.Choice(["hold", "recover"]), hidden=True)
@click.option("--hub", hidden=True, default="")
def main(
    quick: bool, only: str | None, count: int, file: str | None, folder: str | None, phase: str | None, hub: str
) -> None:
    """Time from a start to the last of many killed runs having committed a step again.

    A child process brings the runs, of 50 steps each, to steps spread evenly over their length and is killed with
    a step of every run in flight. A second one opens the hub; nothing holds its steps, so all go on at once.
    """
    if phase == "hold":
        asyncio.run(hold(hub, count))
    elif phase == "recover":
        click.echo(json.dumps(asyncio.run(recover(hub, count))))
    else:
        _measure(3 if quick else 5, count, file, folder)


def _measure(rounds: int, count: int, file: str | None, folder: str | None) -> None:
    report = figures.Report("recovery")
    with tempfile.TemporaryDirectory(dir=folder, prefix="perdure-bench-") as place:
        report.head(pathlib.Path(place))
        found = [_round(place, count) for _ in range(rounds)]
    middle = {name: figures.median([each[name] for each in found]) for name in found[0]}
    report.add(
        f"{count:,} runs of {STEPS} steps, killed: all moving after s {figures.judged(middle['moving'], most=2)}\n"
        f"  the host is up after {middle['start']:.2f} s: open {middle['open']:.2f}, read {middle['read']:.2f}, "
        f"rebuild {middle['rebuild']:.2f}, steps of those rebuilt already {middle['steps']:.2f}\n"
        f"  the first step is committed after {middle['first']:.2f} s, all runs have ended after "
        f"{middle['ended']:.2f} s; the process, imports included, took {middle['process']:.2f} s",
        count=count,
        rounds=found,
    )
    report.save(file)


if __name__ == "__main__":
    main()
