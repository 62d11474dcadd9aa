from __future__ import annotations

import asyncio
import pathlib
import threading
from collections.abc import AsyncIterator
from typing import Never

import pytest
from agent_framework import (
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    executor,
    handler,
    response_handler,
)
from tests.durabletask.scheduler import Scheduler

from perdure import AgentFunctionApp
from perdure.hosts.durabletask import client, hub, sdk, worker
from perdure.payloads import refs
from perdure.routes import runs
from perdure.testing.conformance import runs as conformance


@executor(id="echo")
async def echo(text: str, ctx: WorkflowContext[Never, str]) -> None:
    await ctx.yield_output(text)


@executor(id="failing")
async def failing(text: str, ctx: WorkflowContext[Never, str]) -> None:
    raise ValueError("no")


class Asking(Executor):
    @handler
    async def ask(self, text: str, ctx: WorkflowContext[Never, int]) -> None:
        await ctx.request_info(text, int)

    @response_handler
    async def hear(self, asked: str, number: int, ctx: WorkflowContext[Never, int]) -> None:
        await ctx.yield_output(number)


def gated(gate: asyncio.Event) -> Workflow:
    @executor(id="gated")
    async def wait(text: str, ctx: WorkflowContext[Never, str]) -> None:
        await gate.wait()
        await ctx.yield_output("opened")

    return WorkflowBuilder(name="gated", start_executor=wait).build()


class Hosted:
    """The suite's workflows on a scheduler, who asks so many levels down: a worker, and runs over a client."""

    def __init__(
        self, folder: pathlib.Path, scheduler: Scheduler, stopping: list[threading.Thread], levels: int = 0
    ) -> None:
        self.gate = asyncio.Event()
        simple = [WorkflowBuilder(name=item.id, start_executor=item).build() for item in (echo, failing)]
        asking = WorkflowBuilder(name="asking", start_executor=Asking("asking")).build()
        for level in range(levels):
            child = WorkflowExecutor(asking, id=f"level{level}", propagate_request=True, allow_direct_output=True)
            asking = WorkflowBuilder(name="asking", start_executor=child).build()
        self.app = AgentFunctionApp(workflows=[*simple, gated(self.gate), asking])
        self._scheduler = scheduler
        self._stopping = stopping
        self._stores = hub.stores(str(folder / "shared"), "test", {})
        self._client: client.SchedulerClient | None = None
        self._worker: worker.Worker | None = None

    def accept(self, workflow: str, text: str) -> tuple[refs.Ref, list[refs.Blob]]:
        return self.app.hosted_workflows[workflow].accept(text.encode(), "text/plain")

    def open(self) -> runs.Runs:
        made = hub.Hub(self.app, sdk.address(self._scheduler.address, "test"), self._stores)
        self._worker = made.worker().start()
        self._client = made.connect()
        return made.runs(self._client)

    async def reopen(self) -> runs.Runs:
        await self.kill()
        return self.open()

    async def kill(self) -> None:
        killed, connected = self._worker, self._client
        assert killed is not None and connected is not None
        self._scheduler.cut()
        await killed.let_go()
        thread = threading.Thread(target=killed.stop_now)
        thread.start()
        self._stopping.append(thread)
        await connected.close()


class TestDurableTask(conformance.RunsSuite):
    @pytest.fixture
    async def bench(
        self, tmp_path: pathlib.Path, scheduler: Scheduler, stopping: list[threading.Thread]
    ) -> AsyncIterator[conformance.Bench]:
        hosted = Hosted(tmp_path, scheduler, stopping)
        yield conformance.Bench(hosted.open(), hosted.accept, hosted.gate.set, hosted.reopen)
        hosted.gate.set()
        await hosted.kill()


class TestInsideSubWorkflows(conformance.AnswersSuite):
    @pytest.fixture
    async def bench(
        self, tmp_path: pathlib.Path, scheduler: Scheduler, stopping: list[threading.Thread]
    ) -> AsyncIterator[conformance.Bench]:
        hosted = Hosted(tmp_path, scheduler, stopping, levels=2)
        yield conformance.Bench(hosted.open(), hosted.accept, hosted.gate.set, hosted.reopen)
        await hosted.kill()
