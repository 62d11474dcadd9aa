"""Many orchestrations parked on an external event: memory, start-up, and whether one still wakes."""

from __future__ import annotations

import os
import sys

# This folder's http.py must not hide the standard library's: the folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import asyncio
import json
import pathlib
import subprocess
import tempfile
import time
from typing import Any

import click
from benchmarks import figures

from perdure.engine import engine
from perdure.hosts.local import host as local_host  # noqa: F401  # a host needs it: it belongs to the memory measured
from perdure.workflow import protocol

AT_ONCE = 500
PATIENCE_SECONDS = 30.0
CALL = b"what it was started with: a few dozen bytes, as a reference to its input would be"


class Waiting:
    """An orchestration that waits for one event and gives it back."""

    name = "waiting"

    def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
        host.emit(b"started")
        landed = yield
        host.emit(b"completed")
        return protocol.Ended(landed.value)

    def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
        raise AssertionError("it keeps no state")

    def decode(self, data: bytes) -> bytes:
        return data


def _engine(hub: str) -> engine.Engine:
    waiting = Waiting()
    return engine.Engine(pathlib.Path(hub), orchestrators={waiting.name: waiting}, activities={})


async def park(hub: str, count: int) -> dict[str, float]:
    """Start so many, each durable and parked when this returns."""
    before = figures.memory_bytes()
    durable = _engine(hub)
    await durable.start()
    began = time.perf_counter()
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        await asyncio.gather(*(durable.begin("waiting", f"run-{number:06}", CALL) for number in numbers))
    seconds = time.perf_counter() - began
    found = {"before_mb": before / 1e6, "memory_mb": figures.memory_bytes() / 1e6, "seconds": seconds}
    await durable.close()
    return found


async def reopen(hub: str, count: int) -> dict[str, float]:
    """Open the hub anew and send one of them its event."""
    before = figures.memory_bytes()
    durable = _engine(hub)
    began = time.perf_counter()
    await durable.start()
    opened = time.perf_counter()
    chosen = f"run-{count // 2:06}"
    await durable.raise_event(chosen, "go", b"the event")
    view = await durable.wait(chosen, PATIENCE_SECONDS)
    reached = time.perf_counter()
    assert view is not None and view.output == b"the event", view
    found = {
        "before_mb": before / 1e6,
        "memory_mb": figures.memory_bytes() / 1e6,
        "open_seconds": opened - began,
        "event_seconds": reached - opened,
    }
    await durable.close()
    return found


PHASES = {"park": park, "reopen": reopen}


def _in_child(phase: str, hub: str, count: int) -> dict[str, Any]:
    began = time.perf_counter()
    command = [sys.executable, os.path.abspath(__file__), "--phase", phase, "--hub", hub, "--count", str(count)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    found["process_seconds"] = time.perf_counter() - began
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="10,000 instead of 100,000, and reopen 3 times instead of 5.")
@click.option("--only", type=click.Choice(["park"]), help="Without reopening.")
@click.option("--count", type=int, help="How many orchestrations.")
@click.option("--json", "file", metavar="FILE", help="Write every figure there too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False), help="Where the hub is made.  [system's]")
@click.option("--phase", type=click.Choice(list(PHASES)), hidden=True)
@click.option("--hub", hidden=True, default="")
def main(
    quick: bool,
    only: str | None,
    count: int | None,
    file: str | None,
    folder: str | None,
    phase: str | None,
    hub: str,
) -> None:
    """Memory and start-up time with many orchestrations parked on an external event.

    One process parks them, fresh ones open the hub. Memory is what is resident, the interpreter included.
    """
    if phase is not None:
        click.echo(json.dumps(asyncio.run(PHASES[phase](hub, count or 0))))
        return
    number = count or (10_000 if quick else 100_000)
    report = figures.Report("parked")
    with tempfile.TemporaryDirectory(dir=folder, prefix="perdure-bench-") as place:
        report.head(pathlib.Path(place))
        parked = _in_child("park", place, number)
        size = sum(each.stat().st_size for each in pathlib.Path(place).iterdir()) / 1e6
        memory = figures.judged(parked["memory_mb"], most=150, digits=0)
        report.add(
            f"{number:,} parked in {parked['seconds']:.1f} s; memory MB {memory}, of which {parked['before_mb']:.0f} "
            f"before the hub was opened; hub {size:.0f} MB",
            count=number,
            hub_mb=size,
            **parked,
        )
        if only is None:
            _reopen(report, place, number, 3 if quick else 5)
    report.save(file)


def _reopen(report: figures.Report, place: str, number: int, rounds: int) -> None:
    # Each round wakes one: a fresh middle is chosen by asking for fewer.
    found = [_in_child("reopen", place, number - 2 * turn) for turn in range(rounds)]
    middle = {name: figures.median([each[name] for each in found]) for name in found[0]}
    report.add(
        f"opened by a fresh process: memory MB {figures.judged(middle['memory_mb'], most=150, digits=0)}, "
        f"start-up s {figures.judged(middle['open_seconds'], most=3, digits=3)}, "
        f"an event reached one in {middle['event_seconds'] * 1e3:.1f} ms, "
        f"the whole process from start to end {middle['process_seconds']:.2f} s",
        rounds=found,
    )


if __name__ == "__main__":
    main()
