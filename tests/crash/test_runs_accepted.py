"""Accepted is never lost: what a host answered 202 is there after kill -9, and comes to its end."""

from __future__ import annotations

import itertools
import pathlib
import threading

import httpx
import pytest
from tests.host import served

APP = """
    @executor(id="first")
    async def first(text: str, ctx: WorkflowContext[str]) -> None:
        ctx.set_state("text", text)
        await ctx.send_message(text[:10])


    @executor(id="last")
    async def last(text: str, ctx: WorkflowContext[Never, str]) -> None:
        await ctx.yield_output(f"{text}, {len(ctx.get_state('text'))} characters")


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=first).add_edge(first, last).build())
"""
SIZES = [10, 10_000, 1 << 20]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return served.write_app(tmp_path / "app", APP)


@pytest.mark.parametrize("size", SIZES)
def test_killed_right_after_the_answer_a_run_goes_on(folder: pathlib.Path, size: int) -> None:
    with served.start(folder) as host:
        answer = served.post(host.url, "x" * size)
        host.kill()
    assert answer.status_code == 202
    with served.start(folder) as host:
        ended = served.finished(host.url, answer.json()["instanceId"])
    assert ended["output"] == [f"xxxxxxxxxx, {size} characters"]


def test_killed_among_many_starts_all_that_were_answered_come_to_their_end(folder: pathlib.Path) -> None:
    accepted: list[str] = []
    numbers = itertools.count()
    enough, killed = threading.Event(), threading.Event()

    def keep_starting(url: str, who: int) -> None:
        # Another host may soon listen on the same port.
        while not killed.is_set():
            run = f"{who}-{next(numbers)}"
            try:
                answer = served.post(url, "y" * 2_000, run_id=run)
            except httpx.TransportError:
                return
            assert answer.status_code == 202, answer.text
            accepted.append(run)
            if len(accepted) >= 60:
                enough.set()

    with served.start(folder) as host:
        starters = [threading.Thread(target=keep_starting, args=(host.url, who)) for who in range(4)]
        for starter in starters:
            starter.start()
        assert enough.wait(served.PATIENCE_SECONDS), host.output
        host.kill()
        killed.set()
        for starter in starters:
            starter.join(served.PATIENCE_SECONDS)
            assert not starter.is_alive()
    with served.start(folder) as host:
        for run in accepted:
            assert served.finished(host.url, run)["output"] == ["yyyyyyyyyy, 2000 characters"]
