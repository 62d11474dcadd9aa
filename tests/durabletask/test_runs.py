from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.conformance import workflows
from tests.durabletask import hosting
from tests.durabletask.scheduler import Scheduler

from perdure.payloads import refs
from perdure.routes import runs
from perdure.testing.conformance import runs as conformance


class TestDurableTask(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self, scheduler: Scheduler) -> AsyncIterator[conformance.Bench]:
        gate = asyncio.Event()
        app = workflows.app_of(gate)
        async with hosting.SchedulerHost(app, scheduler=scheduler) as host:

            def accept(workflow: str, text: str) -> tuple[refs.Ref, list[refs.Blob]]:
                return app.hosted_workflows[workflow].accept(text.encode(), "text/plain")

            async def reopen() -> runs.Runs:
                await host.restart()
                return host.runs

            yield conformance.Bench(host.runs, accept, gate.set, reopen)
            gate.set()
