"""Workflows that ask people."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pydantic
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler, response_handler

from perdure import WorkflowHitlContext

MAILED: list[str] = []
"""Addresses that executors mailed to somebody."""


@dataclass
class Line:
    """A line of an order."""

    article: str
    pieces: int


@dataclass
class Purchase:
    """What somebody is to approve."""

    number: int
    lines: list[Line] = field(default_factory=list)
    note: str | None = None


class Verdict(pydantic.BaseModel):
    """What they say."""

    approved: bool
    limit: int = pydantic.Field(default=0, ge=0)
    reason: str | None = None


class Buyer(Executor):
    """Asks for a verdict on as many purchases as it is told, and notes the verdicts in the order given."""

    def __init__(self, id: str = "buyer") -> None:
        super().__init__(id=id)
        self.heard: list[str] = []

    @handler
    async def buy(self, count: int, ctx: WorkflowContext[str, str]) -> None:
        for number in range(1, count + 1):
            await ctx.request_info(Purchase(number, [Line("pencil", number)]), Verdict)

    @response_handler
    async def decide(self, asked: Purchase, verdict: Verdict, ctx: WorkflowContext[str, str]) -> None:
        self.heard.append(f"{asked.number}:{verdict.approved}:{verdict.limit}")
        ctx.set_state("heard", list(self.heard))
        await ctx.yield_output(" ".join(self.heard))


class Gate(Executor):
    """Works until it is let through."""

    def __init__(self, gate: asyncio.Event, id: str = "gate") -> None:
        super().__init__(id=id)
        self._gate = gate

    @handler
    async def pass_on(self, value: int, ctx: WorkflowContext[str, str]) -> None:
        await self._gate.wait()
        await ctx.yield_output("gate open")


class Splitter(Executor):
    """Sends what it is given to all."""

    @handler
    async def split(self, value: int, ctx: WorkflowContext[int]) -> None:
        await ctx.send_message(value)


def buying() -> Workflow:
    """One executor that asks several questions."""
    return WorkflowBuilder(start_executor=Buyer()).build()


def asking(kind: Any) -> Workflow:
    """One executor that asks one question, whose answer is of a type, and yields what it was given."""

    class Asker(Executor):
        @handler
        async def ask(self, question: str, ctx: WorkflowContext[str, str]) -> None:
            await ctx.request_info({"question": question}, kind)

        @response_handler(request=dict, response=kind, workflow_output=str)
        async def hear(self, asked: Any, answer: Any, ctx: WorkflowContext[Any, Any]) -> None:
            await ctx.yield_output(f"{type(answer).__name__} {answer!r}")

    return WorkflowBuilder(start_executor=Asker(id="asker")).build()


def told(kind: Any) -> Workflow:
    """One executor that asks for a message or messages, and yields who said what."""

    class Listener(Executor):
        @handler
        async def ask(self, question: str, ctx: WorkflowContext[str, str]) -> None:
            await ctx.request_info({"question": question}, kind)

        @response_handler(request=dict, response=kind, workflow_output=str)
        async def hear(self, asked: Any, answer: Any, ctx: WorkflowContext[Any, Any]) -> None:
            for message in answer if isinstance(answer, list) else [answer]:
                await ctx.yield_output(f"{message.role}: {message.text}")

    return WorkflowBuilder(start_executor=Listener(id="listener")).build()


def beside(gate: asyncio.Event) -> Workflow:
    """A buyer beside a branch that works until its gate opens."""
    split = Splitter(id="split")
    return WorkflowBuilder(start_executor=split).add_fan_out_edges(split, [Buyer(), Gate(gate)]).build()


class Mailer(Executor):
    """Asks, mails the request's id at once, and is then slow to finish."""

    def __init__(self, gate: asyncio.Event, ids: asyncio.Queue[str]) -> None:
        super().__init__(id="mailer")
        self._gate = gate
        self._ids = ids

    @handler
    async def mail(self, value: int, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(Purchase(value), Verdict)
        self._ids.put_nowait(await WorkflowHitlContext.pending_request_id(ctx) or "")
        await self._gate.wait()

    @response_handler
    async def hear(self, asked: Purchase, verdict: Verdict, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"mailed: {verdict.approved}")


class Named(Executor):
    """Asks under an id of its own choice."""

    def __init__(self, request: str) -> None:
        super().__init__(id="named")
        self._request = request

    @handler
    async def ask(self, value: int, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(value, bool, request_id=self._request)

    @response_handler
    async def hear(self, asked: int, yes: bool, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"named: {yes}")


def mailing(gate: asyncio.Event, ids: asyncio.Queue[str]) -> Workflow:
    """One executor that mails the id of its request before its step is recorded."""
    return WorkflowBuilder(start_executor=Mailer(gate, ids)).build()


def named(request: str) -> Workflow:
    """One executor whose request has a given id."""
    return WorkflowBuilder(start_executor=Named(request)).build()
