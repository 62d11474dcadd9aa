"""Time per step: the framework's own in-process runner, perdure, and bare group commit, side by side."""

from __future__ import annotations

import os
import sys

# This folder's http.py must not hide the standard library's: the folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import asyncio
import base64
import gc
import pathlib
import queue
import random
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import apsw
import click
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from benchmarks import figures

from perdure import AgentFunctionApp
from perdure.hosts.local import host

MEBIBYTE = 1 << 20
UNLIMITED = 1_000_000
PATIENCE_SECONDS = 600.0
WAITERS = 100
WAIT_SECONDS = 1.0
LOG_PAGES = 2_000
LARGEST_INSERT = 64

Use = Literal["unread", "read", "rewritten"]

entered: list[float] = []
"""When each step of the only run began."""

_WORDS = ("the", "of", "a", "spam", "order", "meeting", "invoice", "please", "tomorrow", "attached", "thanks", "team")
_TEXTS = {
    "compressible": " ".join(random.Random(1).choices(_WORDS, k=MEBIBYTE // 4))[:MEBIBYTE],
    "incompressible": base64.b64encode(random.Random(2).randbytes(MEBIBYTE))[:MEBIBYTE].decode(),
}


class Step(Executor):
    """Passes on how many steps are left."""

    @handler
    async def step(self, left: int, ctx: WorkflowContext[int, int]) -> None:
        if left > 1:
            await ctx.send_message(left - 1)
        else:
            await ctx.yield_output(left)


class StatefulStep(Executor):
    """As ``Step``, with one value in the shared state; the first step of a run sets it.

    It holds the name of the text, not the text: what an executor holds is state of its own.
    """

    def __init__(self, id: str, steps: int, text: str, use: Use) -> None:
        super().__init__(id)
        self.steps = steps
        self.text = text
        self.use = use

    @handler
    async def step(self, left: int, ctx: WorkflowContext[int, int]) -> None:
        entered.append(time.perf_counter())
        if left == self.steps or self.use == "rewritten":
            text = _TEXTS[self.text]
            ctx.set_state("value", text[left:] + text[:left])
        elif self.use == "read":
            assert len(ctx.get_state("value")) == MEBIBYTE
        if left > 1:
            await ctx.send_message(left - 1)
        else:
            await ctx.yield_output(left)


class TimedStep(Step):
    """A ``Step`` of a run without state that is timed from its second step on, as those with state are."""

    @handler
    async def step(self, left: int, ctx: WorkflowContext[int, int]) -> None:
        entered.append(time.perf_counter())
        if left > 1:
            await ctx.send_message(left - 1)
        else:
            await ctx.yield_output(left)


class Waiter(Executor):
    @handler
    async def wait(self, seconds: float, ctx: WorkflowContext[int, int]) -> None:
        await asyncio.sleep(seconds)
        await ctx.yield_output(1)


def chain(length: int) -> Workflow:
    executors = [Step(f"step{number}") for number in range(length)]
    builder = WorkflowBuilder(name="workflow", start_executor=executors[0], max_iterations=UNLIMITED, output_from="all")
    return builder.add_chain(executors).build()


def loop(make: Callable[[str], Executor] = Step) -> Workflow:
    here, there = make("here"), make("there")
    builder = WorkflowBuilder(name="workflow", start_executor=here, max_iterations=UNLIMITED, output_from="all")
    return builder.add_edge(here, there).add_edge(there, here).build()


def waiting() -> Workflow:
    return WorkflowBuilder(name="workflow", start_executor=Waiter("waiter"), output_from="all").build()


@dataclass(slots=True)
class Case:
    """What is measured.

    Attributes:
        name: Of the case.
        build: Builds the workflow.
        runs: How many run at once.
        steps: Of each run; also its input.
        stamped: Whether the time of a step is taken from the second step's beginning to the last one's.
        against: Who is measured.
        per_step: Seconds a step, by contender, a round each.
        cpu: Seconds of processor time a step, likewise; less moved by what else the machine does.
    """

    name: str
    build: Callable[[], Workflow]
    runs: int
    steps: int
    stamped: bool = False
    against: tuple[str, ...] = ("in process", "perdure", "floor")
    per_step: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def median(self, contender: str) -> float:
        return figures.median(self.per_step[contender])

    def cpu_median(self, contender: str) -> float:
        return figures.median(self.cpu[contender])

    def ratio(self, over: str, under: str) -> float:
        return figures.ratio(self.per_step[over], self.per_step[under])


@dataclass(slots=True)
class Rows:
    """The history that perdure wrote for a case: what the floor writes too."""

    count: int = 0
    record_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """Time and processor time of a step, seconds."""

    wall: float
    cpu: float


# The contenders; each gives what a step takes.


async def in_process(case: Case, folder: pathlib.Path, rows: Rows) -> Taken:
    """``Workflow.run()``: nothing durable. The workflows, one a run, are built beforehand."""
    await case.build().run(min(case.steps, 50))
    workflows = [case.build() for _ in range(case.runs)]
    return await _timed(case, lambda: asyncio.gather(*(workflow.run(case.steps) for workflow in workflows)))


async def durable(case: Case, folder: pathlib.Path, rows: Rows) -> Taken:
    """perdure on a fresh hub, from the start of the runs to their outputs."""
    app = AgentFunctionApp(workflow=case.build(), app_folder=folder)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        async with host.LocalHost(app, hub=place) as hosting:
            await hosting.run("workflow", case.steps if case.stamped else min(case.steps, 50))
            first = _last_number(place)

            def work() -> Awaitable[object]:
                runs = (hosting.run("workflow", case.steps, timeout=PATIENCE_SECONDS) for _ in range(case.runs))
                return asyncio.gather(*runs)

            taken = await _timed(case, work)
            rows.count, rows.record_bytes = _history(place, first)
    return taken


async def floor(case: Case, folder: pathlib.Path, rows: Rows) -> Taken:
    """The same rows through a writer thread, committed in groups: no engine, no workflow."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        commits = ThreadCommits(place)
        try:
            return await _commit_all(case, rows, commits)
        finally:
            commits.close()


async def floor_here(case: Case, folder: pathlib.Path, rows: Rows) -> Taken:
    """The same rows, committed on the loop itself: no thread either."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        commits = LoopCommits(place)
        try:
            return await _commit_all(case, rows, commits)
        finally:
            commits.close()


async def _commit_all(case: Case, rows: Rows, commits: Commits) -> Taken:
    landings = rows.count // case.runs
    record = random.Random(3).randbytes(rows.record_bytes)

    async def one(number: int) -> None:
        for seq in range(landings):
            await commits.commit((number, seq, seq, record))

    await asyncio.gather(*(one(-1 - number) for number in range(case.runs)))
    return await _timed(case, lambda: asyncio.gather(*(one(number) for number in range(case.runs))), stamped=False)


async def _timed(case: Case, work: Callable[[], Awaitable[object]], *, stamped: bool | None = None) -> Taken:
    gc.collect()
    entered.clear()
    # The host shortens it; the others are given the same.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(host.SWITCH_INTERVAL_SECONDS)
    burnt, began = time.process_time(), time.perf_counter()
    await work()
    wall, cpu = time.perf_counter() - began, time.process_time() - burnt
    sys.setswitchinterval(interval)
    steps = case.runs * case.steps
    if case.stamped if stamped is None else stamped:
        return Taken((entered[-1] - entered[1]) / (len(entered) - 2), cpu / steps)
    return Taken(wall / steps, cpu / steps)


def _last_number(place: str) -> int:
    return int(_query(place, "SELECT max(number), 0 FROM instances", ())[0])


def _history(place: str, after: int) -> tuple[int, int]:
    count, size = _query(place, "SELECT count(*), avg(length(record)) FROM history WHERE instance > ?", (after,))
    return int(count), int(size)


def _query(place: str, text: str, values: tuple[int, ...]) -> tuple[float, float]:
    connection = apsw.Connection(os.path.join(place, "hub.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        first, second = connection.execute(text, values).fetchall()[0]
        return float(str(first)), float(str(second))
    finally:
        connection.close()


# Bare group commit.

Row = tuple[int, int, int, bytes]
Group = list[tuple[Row, asyncio.Future[None]]]


class Commits:
    """Groups what one turn of the loop brings; a subclass makes a group durable."""

    def __init__(self, place: str) -> None:
        self._path = os.path.join(place, "floor.db")
        self._loop = asyncio.get_running_loop()
        self._group: Group = []

    async def commit(self, row: Row) -> None:
        future = self._loop.create_future()
        if not self._group:
            self._loop.call_soon(self._flush)
        self._group.append((row, future))
        await future

    def _flush(self) -> None:
        group, self._group = self._group, []
        self.hand_over(group)

    def hand_over(self, group: Group) -> None:
        raise NotImplementedError

    def done(self, group: Group) -> None:
        for _, future in group:
            future.set_result(None)

    def close(self) -> None:
        raise NotImplementedError


class ThreadCommits(Commits):
    def __init__(self, place: str) -> None:
        super().__init__(place)
        self._queue: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def hand_over(self, group: Group) -> None:
        self._queue.put(group)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = _open(self._path)
        while (group := self._queue.get()) is not None:
            while not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    self._queue.put(None)
                    break
                group = group + more
            _write(connection, group)
            self._loop.call_soon_threadsafe(self.done, group)
        connection.close()


class LoopCommits(Commits):
    def __init__(self, place: str) -> None:
        super().__init__(place)
        self._connection = _open(self._path)

    def hand_over(self, group: Group) -> None:
        _write(self._connection, group)
        self.done(group)

    def close(self) -> None:
        self._connection.close()


def _open(path: str) -> apsw.Connection:
    connection = apsw.Connection(path)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.wal_autocheckpoint(LOG_PAGES)
    connection.execute(
        "CREATE TABLE history (instance INTEGER NOT NULL, seq INTEGER NOT NULL, events INTEGER NOT NULL,"
        " record BLOB NOT NULL, PRIMARY KEY (instance, seq)) WITHOUT ROWID"
    )
    return connection


def _write(connection: apsw.Connection, group: Group) -> None:
    alone = len(group) <= LARGEST_INSERT
    if not alone:
        connection.execute("BEGIN IMMEDIATE")
    for start in range(0, len(group), LARGEST_INSERT):
        rows = group[start : start + LARGEST_INSERT]
        values = [value for row, _ in rows for value in row]
        connection.execute("INSERT INTO history VALUES " + ", ".join(["(?, ?, ?, ?)"] * len(rows)), values)
    if not alone:
        connection.execute("COMMIT")


# The parts of the benchmark.

CONTENDERS = {"in process": in_process, "perdure": durable, "floor": floor, "floor on the loop": floor_here}


async def measure(cases: list[Case], rounds: int, folder: pathlib.Path) -> None:
    """Measure everybody once a round; who is first changes from round to round."""
    for turn in range(rounds):
        for case in cases:
            rows = Rows()
            order = [name for name in CONTENDERS if name in case.against and "floor" not in name]
            order = order[turn % len(order) :] + order[: turn % len(order)]
            # The floor writes what perdure wrote, so it comes after.
            for name in (*order, *(name for name in case.against if "floor" in name)):
                taken = await CONTENDERS[name](case, folder, rows)
                case.per_step.setdefault(name, []).append(taken.wall)
                case.cpu.setdefault(name, []).append(taken.cpu)


def _line(report: figures.Report, case: Case, *said: str, **values: float) -> None:
    shown = "  ".join(
        f"{name} {case.median(name) * 1e6:.0f} (cpu {case.cpu_median(name) * 1e6:.0f})" for name in case.against
    )
    report.add(
        f"  {case.name}\n    us a step: {shown}\n    {'; '.join(said)}",
        case=case.name,
        runs=case.runs,
        steps=case.steps,
        us_a_step={name: [round(taken * 1e6, 2) for taken in took] for name, took in case.per_step.items()},
        cpu_us_a_step={name: [round(taken * 1e6, 2) for taken in took] for name, took in case.cpu.items()},
        **values,
    )


def _chains(report: figures.Report, rounds: int, folder: pathlib.Path, quick: bool) -> None:
    report.add("50-step chain of 50 executors; ratios: speed of perdure over that of the other")
    cases = [Case(f"{runs} at once", lambda: chain(50), runs, 50) for runs in (1, 16, 64)]
    cases[0].against = tuple(CONTENDERS)
    asyncio.run(measure(cases, rounds, folder))
    for case in cases:
        speed = case.ratio("in process", "perdure")
        share = case.ratio("floor", "perdure")
        said = [
            f"of in process {figures.judged(speed, least=0.8 if case.runs == 64 else None)}",
            f"by cpu {figures.ratio(case.cpu['in process'], case.cpu['perdure']):.2f}",
            f"of floor {figures.judged(share, least=0.6 if case.runs == 1 else None)}",
        ]
        if "floor on the loop" in case.against:
            said.append(f"of floor on the loop {case.ratio('floor on the loop', 'perdure'):.2f}")
        _line(report, case, *said, of_in_process=speed, of_floor=share)


def _lengths(report: figures.Report, rounds: int, folder: pathlib.Path, quick: bool) -> None:
    report.add("loop of 2 executors, one run, by its length; growth: time a step over that of 50 steps")
    cases = [Case(f"{steps} steps", loop, 1, steps) for steps in (10, 50, 200, 2_000)]
    asyncio.run(measure(cases, rounds, folder))
    _growth(report, cases)
    if not quick:
        cases = [Case(f"{steps} steps, 16 at once", loop, 16, steps) for steps in (50, 2_000)]
        asyncio.run(measure(cases, rounds, folder))
        _growth(report, cases)


def _growth(report: figures.Report, cases: list[Case]) -> None:
    usual = next(case for case in cases if case.steps == 50)
    for case in cases:
        growth = figures.ratio(case.per_step["perdure"], usual.per_step["perdure"])
        own = figures.ratio(case.per_step["in process"], usual.per_step["in process"])
        said = figures.judged(growth, most=1.15 if case.steps == 2_000 else None)
        _line(report, case, f"growth {said}", f"growth in process {own:.2f}", growth=growth, growth_in_process=own)


def _states(report: figures.Report, rounds: int, folder: pathlib.Path, quick: bool) -> None:
    report.add("50-step loop of 2 executors, one run, one str of 1 MiB in the shared state; timed from the second step")

    def case(name: str, text: str, use: Use) -> Case:
        build = lambda: loop(lambda id: StatefulStep(id, 50, text, use))  # noqa: E731
        return Case(name, build, 1, 50, stamped=True, against=("in process", "perdure"))

    none = Case("no state", lambda: loop(TimedStep), 1, 50, stamped=True, against=("in process", "perdure"))
    cases = [
        none,
        case("unread", "compressible", "unread"),
        case("read each step", "compressible", "read"),
        case("read, incompressible", "incompressible", "read"),
        case("rewritten each step", "compressible", "rewritten"),
        case("rewritten, incompressible", "incompressible", "rewritten"),
    ]
    asyncio.run(measure(cases, rounds, folder))
    for each in cases:
        over = figures.ratio(each.per_step["perdure"], none.per_step["perdure"])
        said = ""
        if each.name.startswith("rewritten"):
            said = "ms a step " + figures.judged(each.median("perdure") * 1e3, most=6)
        else:
            said = "of no state " + figures.judged(over, most=1.1 if each.name == "unread" else 1.3)
        _line(report, each, said, of_no_state=over)


def _waiters(report: figures.Report, rounds: int, folder: pathlib.Path, quick: bool) -> None:
    async def once() -> float:
        app = AgentFunctionApp(workflow=waiting(), app_folder=folder)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            async with host.LocalHost(app, hub=place) as hosting:
                await hosting.run("workflow", 0.0)
                began = time.perf_counter()
                await asyncio.gather(*(hosting.run("workflow", WAIT_SECONDS) for _ in range(WAITERS)))
                return time.perf_counter() - began

    took = [asyncio.run(once()) for _ in range(rounds)]
    said = figures.judged(figures.median(took), most=1.5)
    report.add(f"{WAITERS} runs of an executor that awaits {WAIT_SECONDS:g} s, together: {said} s", seconds=took)


PARTS = {"chain": _chains, "length": _lengths, "state": _states, "wait": _waiters}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="3 rounds instead of 5, and without the longest case.")
@click.option("--only", type=click.Choice(list(PARTS)), help="Only this part.")
@click.option("--json", "file", metavar="FILE", help="Write every figure there too.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False), help="Where hubs are made.  [system's]")
def main(quick: bool, only: str | None, file: str | None, folder: str | None) -> None:
    """Time a step takes, in process, on perdure, and for bare group commit.

    All are measured in one process, in turns; a ratio is the median of the ratios within each round.
    """
    report = figures.Report("steps")
    with tempfile.TemporaryDirectory(dir=folder, prefix="perdure-bench-") as place:
        report.head(pathlib.Path(place))
        for name, part in PARTS.items():
            if only in (None, name):
                part(report, 3 if quick else 5, pathlib.Path(place), quick)
                click.echo()
    report.save(file)


if __name__ == "__main__":
    main()
