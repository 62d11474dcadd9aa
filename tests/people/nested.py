"""Workflows inside workflows, that ask people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent_framework import (
    Executor,
    SubWorkflowRequestMessage,
    SubWorkflowResponseMessage,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    handler,
    response_handler,
)
from tests.people import programs

from perdure import WorkflowHitlContext


@dataclass
class Draft:
    """A text to approve."""

    text: str
    version: int


class Writer(Executor):
    """Counts its drafts, asks for approval of each and yields what is approved."""

    def __init__(self, id: str = "writer") -> None:
        super().__init__(id=id)
        self.version = 0

    @handler
    async def write(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        if text == "fail":
            raise ValueError("the ink is dry")
        self.version += 1
        ctx.set_state("text", text)
        await ctx.request_info(Draft(text, self.version), programs.Verdict)
        found = WorkflowHitlContext.from_context(ctx)
        if found is not None:
            request = await WorkflowHitlContext.pending_request_id(ctx)
            programs.MAILED.append(found.build_respond_url(request or ""))

    @response_handler
    async def hear(self, draft: Draft, verdict: programs.Verdict, ctx: WorkflowContext[str, str]) -> None:
        if not verdict.approved:
            self.version += 1
            text = f"{ctx.get_state('text')}, better"
            ctx.set_state("text", text)
            await ctx.request_info(Draft(text, self.version), programs.Verdict)
            return
        await ctx.yield_output(f"{draft.text} (version {draft.version} of {self.version})")


class Publisher(Executor):
    """Yields what it is given."""

    @handler
    async def publish(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"published: {text}")


class Relay(Executor):
    """Sends each word of its input on, one after the other if there are several."""

    @handler
    async def relay(self, text: str, ctx: WorkflowContext[str]) -> None:
        for word in text.split("|"):
            await ctx.send_message(word)


class Editor(Executor):
    """Answers what the sub-workflow asks: short drafts at once, others by asking a person itself."""

    def __init__(self, id: str = "editor") -> None:
        super().__init__(id=id)
        self.held: dict[str, SubWorkflowRequestMessage] = {}

    @handler
    async def intercept(
        self, asked: SubWorkflowRequestMessage, ctx: WorkflowContext[SubWorkflowResponseMessage, str]
    ) -> None:
        draft = asked.source_event.data
        assert isinstance(draft, Draft)
        if len(draft.text) < 10:
            await ctx.send_message(asked.create_response(programs.Verdict(approved=True)), target_id=asked.executor_id)
            return
        self.held[draft.text] = asked
        await ctx.request_info(draft, bool)

    @response_handler
    async def hear(self, draft: Draft, yes: bool, ctx: WorkflowContext[SubWorkflowResponseMessage, str]) -> None:
        asked = self.held.pop(draft.text)
        await ctx.send_message(asked.create_response(programs.Verdict(approved=yes)), target_id=asked.executor_id)


def writing() -> Workflow:
    """The workflow inside."""
    return WorkflowBuilder(start_executor=Writer(), name="writing").build()


def child(levels: int, *, propagate: bool = True) -> WorkflowExecutor:
    """The workflow inside, so many levels down."""
    inner = writing()
    for level in range(levels, 1, -1):
        wrapped = WorkflowExecutor(inner, id=f"level{level}", propagate_request=True, allow_direct_output=True)
        inner = WorkflowBuilder(start_executor=wrapped, name=f"inner{level}").build()
    return WorkflowExecutor(inner, id="level1", propagate_request=propagate)


def publishing(levels: int = 1) -> Workflow:
    """Words to a sub-workflow whose requests surface on top; what is approved is published."""
    relay, writer, publisher = Relay(id="relay"), child(levels), Publisher(id="publisher")
    return WorkflowBuilder(start_executor=relay, name="publishing").add_chain([relay, writer, publisher]).build()


def intercepted() -> Workflow:
    """A sub-workflow whose requests an executor of the parent answers."""
    relay, writer, publisher = Relay(id="relay"), child(1, propagate=False), Publisher(id="publisher")
    editor: Any = Editor()
    builder = WorkflowBuilder(start_executor=relay, name="intercepted").add_edge(relay, writer)
    return builder.add_edge(writer, publisher).add_edge(writer, editor).add_edge(editor, writer).build()


class Steady(Executor):
    """Takes several supersteps, and then yields."""

    @handler
    async def go(self, text: str, ctx: WorkflowContext[int]) -> None:
        ctx.set_state("text", text)
        await ctx.send_message(1)

    @handler
    async def go_on(self, step: int, ctx: WorkflowContext[int, str]) -> None:
        if step < 4:
            await ctx.send_message(step + 1)
        else:
            await ctx.yield_output(f"{self.id}: {ctx.get_state('text')}")


def beside() -> Workflow:
    """A sub-workflow that waits, beside a branch that does not."""
    relay, writer, publisher, steady = Relay(id="relay"), child(1), Publisher(id="publisher"), Steady(id="steady")
    builder = WorkflowBuilder(start_executor=relay, name="beside").add_fan_out_edges(relay, [writer, steady])
    return builder.add_edge(writer, publisher).add_edge(steady, steady).build()
