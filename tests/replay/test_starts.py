"""Starts of one run by several clients who wait for it, on engines that replay, asked for as the web server does."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance import workflows
from tests.people import desk
from tests.replay.conftest import Make

from perdure.hosts.local import bridge
from perdure.workflow import options


class Seen:
    """A host's runs, and who waits for one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.waiting = asyncio.Semaphore(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def wait(self, run_id: str, seconds: float) -> Any:
        self.waiting.release()
        return await self._inner.wait(run_id, seconds)


async def test_who_starts_the_same_run_again_and_waits_is_told_that_it_is_the_same(make_host: Make) -> None:
    """Whether it has ended before, or while it was waited for: so that nobody is told that the id is taken."""
    gate = asyncio.Event()
    async with make_host(workflows.app_of(gate)) as host:
        seen: Any = Seen(host.runs)
        runs = bridge.BridgedRuns(seen, asyncio.get_running_loop())
        value, blobs = host.app.hosted_workflows["gated"].take("hi")

        def start() -> asyncio.Task[Any]:
            return asyncio.create_task(runs.start("gated", "r", value, blobs, wait=desk.PATIENCE_SECONDS))

        starting = [start(), start()]
        for _ in starting:
            await seen.waiting.acquire()
        gate.set()
        found = [*await asyncio.gather(*starting), await start()]

    assert [run.status for run, _ in found] == ["Completed"] * 3
    assert sorted(new for _, new in found) == [False, False, True]
    assert {run.input_digest for run, _ in found} == {options.digest(value, options.NONE)}
