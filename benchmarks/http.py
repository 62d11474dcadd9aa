"""Runs by HTTP: a host process under load from wrk."""

from __future__ import annotations

import os
import sys

# This file must not hide the standard library's http: its folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click
from benchmarks import figures

from perdure.hosts.local import owner

START_PATIENCE_SECONDS = 30.0
WARM_UP_SECONDS = 1
CLIENTS = (1, 32)

APP = """
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler

from perdure import AgentFunctionApp


class Step(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.send_message(text)


class Last(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(text)


STEPS = 5
steps = [*(Step(f"step{number}") for number in range(STEPS - 1)), Last("last")]
builder = WorkflowBuilder(name="chain", start_executor=steps[0], output_from=[steps[-1]])
app = AgentFunctionApp(workflow=builder.add_chain(steps).build())
"""

# One thread of wrk, so that its answers are counted in one place.
LOAD = """
wrk.method = "POST"
wrk.body = '"Are you coming to the meeting on Tuesday?"'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Prefer"] = "wait=10"
local crew = {}
function setup(thread) table.insert(crew, thread) end
function init(args) completed, other = 0, 0 end
function response(status) if status == 200 then completed = completed + 1 else other = other + 1 end end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"completed": %d, "other": %d, "socket_errors": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}\\n',
    crew[1]:get("completed"), crew[1]:get("other"), errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@contextlib.contextmanager
def hosted(place: pathlib.Path, core: int | None) -> Iterator[str]:
    """Run ``perdure start`` on a fresh hub and give the address of its workflow's run route."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=place))
    (folder / "function_app.py").write_text(APP)
    hub = folder / "hub"
    command = [sys.executable, "-m", "perdure.cli", "start", str(folder), "--port", "0", "--hub", str(hub)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(pinned(command, core), stdout=log, stderr=subprocess.STDOUT)
        try:
            yield f"{_address(process, hub, folder / 'log')}/workflow/run"
        finally:
            process.terminate()
            process.wait()


def _address(process: subprocess.Popen[bytes], hub: pathlib.Path, log: pathlib.Path) -> str:
    until = time.monotonic() + START_PATIENCE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        found = owner.find(hub)
        if found is not None and found.url:
            return found.url
        time.sleep(0.05)
    raise click.ClickException(f"The host did not start; it said:\n{log.read_text()}")


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """Keep a command on one core, where that can be had."""
    return [*command] if core is None or shutil.which("taskset") is None else ["taskset", "-c", str(core), *command]


def load(url: str, script: pathlib.Path, clients: int, seconds: int, core: int | None) -> dict[str, Any]:
    """Send runs for so long and tell what came of it."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "15s", "-s", str(script), url]
    said = subprocess.run(pinned(command, core), check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    found["runs_per_second"] = found["completed"] / found["seconds"]
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="3 rounds of 2 s instead of 5 of 5 s.")
@click.option("--only", type=click.Choice([str(number) for number in CLIENTS]), help="Only with so many clients.")
@click.option("--pin/--no-pin", default=True, help="Keep the host and wrk on a core each.  [pin]")
@click.option("--json", "file", metavar="FILE", help="Write every figure there too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False), help="Where the hub is made.  [system's]")
def main(quick: bool, only: str | None, pin: bool, file: str | None, folder: str | None) -> None:
    """Latency and throughput of a 5-step workflow by HTTP, each request waiting for its run's output.

    The host is a process of its own, on a fresh hub each round, logging to a file. Load comes from wrk.
    """
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is missing. Install it: apt-get install wrk (or brew install wrk).")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    pin = pin and len(cores) > 1 and shutil.which("taskset") is not None
    here, there = (cores[0], cores[-1]) if pin else (None, None)
    report = figures.Report("http")
    rounds, seconds = (3, 2) if quick else (5, 5)
    took: dict[int, list[dict[str, Any]]] = {clients: [] for clients in CLIENTS if only in (None, str(clients))}
    with tempfile.TemporaryDirectory(dir=folder, prefix="perdure-bench-") as name:
        place = pathlib.Path(name)
        report.head(place)
        script = place / "load.lua"
        script.write_text(LOAD)
        for _ in range(rounds):
            with hosted(place, here) as url:
                load(url, script, 8, WARM_UP_SECONDS, there)
                for clients, found in took.items():
                    found.append(load(url, script, clients, seconds, there))
    report.add(f"5-step workflow, wait=10, {'the host on one core, wrk on another' if pin else 'nothing pinned'}")
    for clients, found in took.items():
        _show(report, clients, found)
    report.save(file)


def _show(report: figures.Report, clients: int, found: list[dict[str, Any]]) -> None:
    middle = {name: figures.median([each[name] for each in found]) for name in ("p50_ms", "p99_ms", "runs_per_second")}
    bad = sum(each["other"] for each in found)
    torn = sum(each["socket_errors"] for each in found)
    latency = figures.judged(middle["p50_ms"], most=10 if clients == 1 else None)
    speed = figures.judged(middle["runs_per_second"], least=400 if clients == 32 else None, digits=0)
    report.add(
        f"  {clients:>2} clients: median ms {latency}  p99 ms {middle['p99_ms']:.2f}  runs/s {speed}"
        f"  not 200: {bad}, socket errors: {torn}",
        clients=clients,
        rounds=found,
    )


if __name__ == "__main__":
    main()
