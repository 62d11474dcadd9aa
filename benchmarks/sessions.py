"""Turns of one long session: what each writes, sends through the engine, and takes, from the second to the last."""

from __future__ import annotations

import os
import sys

# This folder's http.py must not hide the standard library's: the folder goes last, and is found as a package.
sys.path.sort(key=lambda place: place == os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import asyncio
import pathlib
import tempfile
import time
from typing import Any

import apsw
import click
from agent_framework import Agent, CompactionProvider, InMemoryHistoryProvider, SlidingWindowStrategy
from benchmarks import figures

from perdure import AgentFunctionApp
from perdure.agents import requests
from perdure.testing import LocalHost, ScriptedChatClient

SAMPLES = 20
"""Turns around each place whose median is told."""
MOST = 1.5
"""What the last turn may write, times what the second did."""


def _agent(window: int) -> Agent:
    client = ScriptedChatClient(lambda messages, options: "Your order is on its way and arrives on Monday." * 4)
    providers: list[Any] = []
    if window:
        providers = [
            InMemoryHistoryProvider(skip_excluded=True),
            CompactionProvider(after_strategy=SlidingWindowStrategy(keep_last_groups=window)),
        ]
    return Agent(client=client, name="helper", context_providers=providers)


async def _in_process(turns: int, window: int) -> list[float]:
    """Seconds that each turn takes the framework alone: it goes through the whole history in every turn."""
    agent = _agent(window)
    session = agent.create_session()
    taken: list[float] = []
    for number in range(1, turns + 1):
        began = time.perf_counter()
        await agent.run(f"Where is order {number}?", session=session)
        taken.append(time.perf_counter() - began)
    return taken


def _stored(hub: pathlib.Path) -> dict[str, int]:
    """Bytes in each table, by what the rows hold; the files themselves grow by pages."""
    columns: dict[str, dict[str, tuple[str, ...]]] = {
        "hub.db": {"payloads": ("body",), "history": ("record",), "kept": ("state", "older")},
        "payloads.db": {"payloads": ("body",)},
    }
    found: dict[str, int] = {}
    for file, tables in columns.items():
        connection = apsw.Connection(str(hub / file), flags=apsw.SQLITE_OPEN_READONLY)
        for table, names in tables.items():
            sizes = " + ".join(f"length({name})" for name in names)
            (size,) = next(iter(connection.execute(f"SELECT ifnull(sum({sizes}), 0) FROM {table}")))
            key = "payloads" if table == "payloads" else "engine"
            found[key] = found.get(key, 0) + int(size)
        connection.close()
    return found


async def _turn(host: LocalHost, number: int) -> None:
    agent = host.app.hosted_agents["helper"]
    ref, blobs = agent.accept(requests.read(f"Where is order {number}?"))
    await host.sessions.send("helper", "s1", f"turn-{number}", ref, blobs)
    turn = await host.sessions.wait("helper", "s1", f"turn-{number}", 60)
    assert turn is not None and turn.status == "success" and turn.number == number


async def _measure(turns: int, window: int, report: figures.Report) -> bool:
    places = sorted({SAMPLES, turns // 10, turns // 2, turns})
    stored: dict[int, dict[str, int]] = {}
    taken: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with LocalHost(AgentFunctionApp(agents=[_agent(window)]), hub=folder) as host:
            for number in range(1, turns + 1):
                began = time.perf_counter()
                await _turn(host, number)
                taken.append(time.perf_counter() - began)
                if any(number in (place - SAMPLES + 2, place) for place in places):
                    stored[number] = _stored(pathlib.Path(folder))
    alone = await _in_process(turns, window)
    said = f"history of the last {window} exchanges" if window else "the whole history to the model"
    click.echo(f"{said}:")
    costs: list[dict[str, float]] = []
    for place in places:
        first, last = stored[place - SAMPLES + 2], stored[place]
        cost = {name: (last[name] - first[name]) / (SAMPLES - 2) for name in last}
        costs.append(cost)
        ms, least = (figures.median(times[place - SAMPLES + 1 : place]) * 1e3 for times in (taken, alone))
        report.add(
            f"  turn {place:5}: {cost['payloads']:7.0f} B payloads, {cost['engine']:6.0f} B engine, "
            f"{ms:6.2f} ms, of the framework alone {least:6.2f} ms",
            window=window, turn=place, milliseconds=ms, in_process_milliseconds=least, **cost,
        )  # fmt: skip
    met = True
    for name in costs[0]:
        ratio = costs[-1][name] / costs[0][name]
        met = met and ratio <= MOST
        click.echo(f"  {name}, last over first: {figures.judged(ratio, most=MOST)}")
    return met


@click.command()
@click.option(
    "--turns", type=click.IntRange(min=10 * SAMPLES), default=1000, show_default=True, help="Turns of the session."
)
@click.option("--json", "file", help="Write the figures to this file.")
def main(turns: int, file: str | None) -> None:
    """Measure the turns of one session."""
    report = figures.Report("sessions")
    report.head(pathlib.Path(tempfile.gettempdir()))
    met = [asyncio.run(_measure(turns, window, report)) for window in (0, 10)]
    report.save(file)
    if not all(met):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
