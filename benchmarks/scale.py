"""What a million runs a day cost and need on Azure, out of what real runs did; see docs/explanation/scale.md."""

from __future__ import annotations

import os
import sys

# This folder's http.py must not hide the standard library's: the folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import asyncio
import contextlib
import importlib.util
import json
import logging
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from benchmarks import bill, hosted, scheduled, traced
from tests.azurite import emulator

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "explanation" / "scale.md"
SETTLE_SECONDS = 0.3
CPU_RUNS = 30
EMBEDDED_RUNS = 200
MARK = re.compile(r"(<!-- scale\.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Make = Callable[[hosted.Case, hosted.Blobs], contextlib.AbstractAsyncContextManager[Callable[[], Any]]]


@dataclass(frozen=True, slots=True)
class Host:
    """Where a workflow runs.

    Attributes:
        title: Its name.
        make: Sets it up.
        scheduler: Whether the engine is Durable Task Scheduler.
        needs: A package that may not be installed.
    """

    title: str
    make: Make
    scheduler: bool
    needs: str = ""


HOSTS = (
    Host("perdure, Azure Storage", hosted.perdure_functions, False),
    Host("incumbent, Azure Storage", hosted.incumbent_functions, False, "agent_framework_azurefunctions"),
    Host("perdure, scheduler", scheduled.perdure_scheduler, True),
    Host("incumbent, scheduler", scheduled.incumbent_scheduler, True, "agent_framework_durabletask"),
)


def cases() -> list[hosted.Case]:
    """Give the workflows that are run."""
    return [hosted.triage(), hosted.chain(10, 0), hosted.chain(10, 64), hosted.chain(50, 64), hosted.asking()]


@dataclass(slots=True)
class Result:
    """One workflow on one host.

    Attributes:
        case: What ran.
        host: Where.
        trace: What it did.
        cpu: Processor seconds of a run; 0 if it was not measured.
    """

    case: str
    host: Host
    trace: traced.Trace
    cpu: float = 0.0

    @property
    def counted(self) -> dict[str, float]:
        """What is billed by number."""
        return bill.scheduler(self.trace) if self.host.scheduler else bill.storage(self.trace)

    @property
    def limits(self) -> list[bill.Limit]:
        """What bears how many runs a day."""
        return (bill.scheduler_limits if self.host.scheduler else bill.storage_limits)(self.trace)


async def count(case: hosted.Case, host: Host, azurite: emulator.Azurite, *, scattered: bool = True) -> traced.Trace:
    """Run a workflow twice and give what the second run did: the first also sets up what is set up once.

    Args:
        case: The workflow.
        host: Where.
        azurite: The storage.
        scattered: Whether each step has nothing at hand that another one has read, as on many instances.
    """
    with hosted.scattered() if scattered else contextlib.nullcontext():
        async with hosted.blobs(azurite) as kept, host.make(case, kept) as run:
            await run()
            await asyncio.sleep(SETTLE_SECONDS)
            kept.passed.clear()
            trace: traced.Trace = await run()
            await asyncio.sleep(SETTLE_SECONDS)
            kept.take(trace)
            return trace


async def cpu(case: hosted.Case, host: Host, azurite: emulator.Azurite, runs: int) -> float:
    """Give the processor seconds that a run takes, the engine that stands in for Azure's included."""
    async with hosted.blobs(azurite, counted=False) as kept, host.make(case, kept) as run:
        await run()
        began = time.process_time()
        for _ in range(runs):
            await run()
        return (time.process_time() - began) / runs


async def _measure(azurite: emulator.Azurite, runs: int) -> list[Result]:
    results = []
    for case in cases():
        for host in HOSTS:
            if host.needs and importlib.util.find_spec(host.needs) is None:
                continue
            try:
                trace = await count(case, host, azurite)
                taken = await cpu(case, host, azurite, runs) if runs else 0.0
            except (TimeoutError, AssertionError) as error:
                click.echo(f"{case.title} on {host.title} does not end: {str(error)[:200]}")
                continue
            click.echo(f"{case.title} on {host.title}: counted", err=True)
            results.append(Result(case.title, host, trace, taken))
    return results


async def _embedded() -> list[list[str]]:
    rows = []
    for case in cases():
        if case.answer is None:
            cpu, size = await hosted.embedded(case, EMBEDDED_RUNS)
            a_day = f"{bill.DAY_SECONDS / cpu / 1e6:.1f} million"
            rows.append([case.title, f"{cpu * 1000:.1f} ms", f"{1 / cpu:.0f}", a_day, f"{size / 1000:.1f} GB"])
    return rows


# Tables.

COUNTS = ("workflow", "host", "turns", "activities", "actions", "queue", "table", "blob writes", "blob reads", "bytes")


def counts_row(result: Result) -> list[str]:
    """Give the row of a run's counts."""
    trace, counted = result.trace, result.counted
    table = counted.get("table_read", 0) + counted.get("table_write", 0)
    cells = [
        len(trace.episodes),
        trace.asked("activity") + len(trace.entities),
        bill.scheduler(trace)["action"],
        counted.get("queue", 0),
        table,
        counted["blob_write"],
        counted["blob_read"] + counted.get("blob_list", 0) + counted.get("blob_other", 0),
        trace.history_bytes + trace.blob_bytes,
    ]
    return [result.case, result.host.title, *(f"{cell:.0f}" for cell in cells)]


def million_row(result: Result, price: dict[str, float]) -> list[str]:
    """Give the row of what a million runs a day ask for and cost."""
    counted, costs = result.counted, bill.cost(result.counted, price)
    if result.host.scheduler:
        engine = costs.pop("action")
    else:
        engine = sum(costs.pop(name) for name in ("queue", "table_read", "table_write"))
    work = bill.compute(result.cpu, bill.executions(result.trace), price)
    return [
        result.case,
        result.host.title,
        f"{bill.requests_of(counted):.0f} million",
        f"{counted['action']:.0f} million" if result.host.scheduler else "",
        f"{bill.stored_bytes(result.trace) * bill.RUNS_A_DAY / 1e9:.0f} GB",
        f"{bill.instances(result.cpu)}",
        f"{engine:.0f}",
        f"{sum(costs.values()):.0f}",
        f"{sum(work.values()):.0f}",
        f"{engine + sum(costs.values()) + sum(work.values()):.0f}",
    ]


MILLION = (
    *("workflow", "host", "storage requests", "actions", "left behind", "instances"),
    *("engine $", "blobs $", "compute $", "a day $"),
)
EMBEDDED = ("workflow", "processor time of a run", "runs a core second", "a core day", "left behind by a million")
LIMITS = ("workflow", "host", "first limit", "reached at, runs a day", "then")


def limits_row(result: Result) -> list[str]:
    """Give the row of what is reached first."""
    first, second, *_ = result.limits
    shown = [f"{limit.runs / 1e6:.2f} million" for limit in (first, second)]
    return [result.case, result.host.title, first.what, shown[0], f"{second.what}, {shown[1]}"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(page: pathlib.Path, tables: dict[str, str]) -> None:
    """Put tables in their places on a page."""
    page.write_text(MARK.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n{found[3]}", page.read_text()))


def read(page: pathlib.Path, name: str) -> Iterator[list[str]]:
    """Give the rows of a table on a page."""
    for found in MARK.finditer(page.read_text()):
        if found[2] == name:
            for line in found[0].splitlines():
                if line.startswith("| ") and not line.startswith(("| ---", "| workflow")):
                    yield [cell.strip() for cell in line.strip("|").split("|")]


def differences(page: pathlib.Path, results: Sequence[Result]) -> Iterator[str]:
    """Say where a page's counts are not those that were counted now: off by more than one and by a tenth."""
    told = {(row[0], row[1]): row for row in read(page, "counts")}
    for result in results:
        now = counts_row(result)
        row = told.get((now[0], now[1]))
        if row is None:
            yield f"{now[0]}, {now[1]}: no row"
            continue
        for name, was, is_now in zip(COUNTS[2:], row[2:], now[2:], strict=True):
            off = abs(int(was) - int(is_now))
            if off > max(1, int(is_now) / 10):
                yield f"{now[0]}, {now[1]}: {name} is {is_now}, not {was}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--price", "changes", multiple=True, metavar="NAME=VALUE", help="Another price than that of prices.toml.")
@click.option("--prices", "file", type=pathlib.Path, default=bill.PRICES, help="Another file of prices.")
@click.option("--cpu-runs", default=CPU_RUNS, show_default=True, help="Runs over which processor time is taken.")
@click.option("--page", is_flag=True, help="Write the tables into docs/explanation/scale.md.")
@click.option("--check", is_flag=True, help="Only compare that page's counts with those of now.")
@click.option("--json", "out", metavar="FILE", help="Write every figure there too.")
def main(changes: tuple[str, ...], file: pathlib.Path, cpu_runs: int, page: bool, check: bool, out: str | None) -> None:
    """Count what real runs ask of Azure, and say what a million a day cost and need."""
    logging.disable(logging.ERROR)
    try:
        price = bill.prices(changes, file)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with emulator.started() as azurite:
        results = asyncio.run(_measure(azurite, 0 if check else cpu_runs))
    if check:
        found = list(differences(PAGE, results))
        for line in found:
            click.echo(line)
        click.echo(f"{len(results)} rows compared")
        raise SystemExit(bool(found or not results))
    alone = asyncio.run(_embedded())
    tables = {
        "counts": table(COUNTS, [counts_row(result) for result in results]),
        "million": table(MILLION, [million_row(result, price) for result in results]),
        "limits": table(LIMITS, [limits_row(result) for result in results]),
        "embedded": table(EMBEDDED, alone),
    }
    click.echo("\n".join(tables.values()))
    if page:
        write(PAGE, tables)
    if out is not None:
        figures = [
            {
                "workflow": result.case,
                "host": result.host.title,
                "counted": result.counted,
                "turns": len(result.trace.episodes),
                "executions": bill.executions(result.trace),
                "history_bytes": result.trace.history_bytes,
                "blob_bytes": result.trace.blob_bytes,
                "wire_bytes": result.trace.wire,
                "cpu_seconds": result.cpu,
                "cost": bill.cost(result.counted, price),
                "limits": {limit.what: limit.runs for limit in result.limits},
            }
            for result in results
        ]
        pathlib.Path(out).write_text(json.dumps({"prices": price, "results": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
