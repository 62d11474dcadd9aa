"""The workflows of the suite of runs, for hosts that run real ones."""

from __future__ import annotations

import asyncio
from typing import Never

from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler, response_handler

from perdure import AgentFunctionApp


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


def app_of(gate: asyncio.Event) -> AgentFunctionApp:
    """Host the workflows; ``gated`` waits at the gate."""
    simple = [WorkflowBuilder(name=item.id, start_executor=item).build() for item in (echo, failing)]
    asking = WorkflowBuilder(name="asking", start_executor=Asking("asking")).build()
    return AgentFunctionApp(workflows=[*simple, gated(gate), asking])
