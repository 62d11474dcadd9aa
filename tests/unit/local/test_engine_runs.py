from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Never

import pytest
from agent_framework import Workflow, WorkflowBuilder, WorkflowContext, executor

from perdure import AgentFunctionApp
from perdure.hosts.local import host
from perdure.testing.conformance import runs as conformance


@executor(id="echo")
async def echo(text: str, ctx: WorkflowContext[Never, str]) -> None:
    await ctx.yield_output(text)


@executor(id="failing")
async def failing(text: str, ctx: WorkflowContext[Never, str]) -> None:
    raise ValueError("no")


def gated(gate: asyncio.Event) -> Workflow:
    @executor(id="gated")
    async def wait(text: str, ctx: WorkflowContext[Never, str]) -> None:
        await gate.wait()
        await ctx.yield_output("opened")

    return WorkflowBuilder(name="gated", start_executor=wait).build()


class TestEngineRuns(conformance.RunsSuite):
    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncIterator[conformance.Bench]:
        gate = asyncio.Event()
        simple = [WorkflowBuilder(name=item.id, start_executor=item).build() for item in (echo, failing)]
        app = AgentFunctionApp(workflows=[*simple, gated(gate)])
        async with host.LocalHost(app, hub=tmp_path / "hub") as hosting:
            yield conformance.Bench(
                hosting.runs,
                lambda workflow, text: app.workflows[workflow].accept(text.encode(), "text/plain"),
                gate.set,
            )
            gate.set()
