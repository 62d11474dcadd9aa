"""A travel guide, written chapter by chapter, and its writer to talk to; both can be watched while they are at work."""

from __future__ import annotations

from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorRequest,
    AgentExecutorResponse,
    AgentResponse,
    AgentResponseUpdate,
    Executor,
    Message,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)
from pydantic import BaseModel, Field

import models
from perdure import AgentCallbackContext, AgentFunctionApp

PLACE, TITLES = "place", "titles"
"""Where the shared state has what the guide is about, and the titles of the chapters that are still to be written."""


class Plan(BaseModel):
    """What the agent answers when it is asked what the guide should have."""

    chapters: list[str] = Field(description="The titles of three chapters.")


class Editor(Executor):
    """Decides what chapters the guide has, and has them written one after the other.

    Each is a superstep of its own, so it is given out, and kept for good, before the next one is begun.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__("edit")
        self.agent = agent

    @handler
    async def plan(self, place: str, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        """Ask for the titles, and for the first chapter."""
        question = f"Which chapters should a short travel guide to {place} have?"
        answer = await self.agent.run(question, options={"response_format": Plan})
        ctx.set_state(PLACE, place)
        ctx.set_state(TITLES, Plan.model_validate_json(answer.text).chapters)
        await self._ask_for_the_next(ctx)

    @handler
    async def go_on(self, written: AgentExecutorResponse, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        """Take note of a chapter that is written, and ask for the next one."""
        await self._ask_for_the_next(ctx)

    async def _ask_for_the_next(self, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        titles: list[str] = ctx.get_state(TITLES)
        if not titles:
            return
        title, *others = titles
        ctx.set_state(TITLES, others)
        chapter = f"Write the chapter '{title}' of a travel guide to {ctx.get_state(PLACE)}"
        question = f"{chapter}: its title as a heading, then three sentences."
        await ctx.send_message(AgentExecutorRequest([Message("user", [question])]))


class Terminal:
    """Shows an agent's answer in the terminal of the host, piece by piece as it comes."""

    async def on_streaming_response_update(self, update: AgentResponseUpdate, context: AgentCallbackContext) -> None:
        """Show a piece; some models say all once more in the end, to replace the pieces."""
        for part in update.contents:
            if part.type == "text" and part.merge_mode != "replace":
                print(part.text, end="", flush=True)

    async def on_agent_response(self, response: AgentResponse, context: AgentCallbackContext) -> None:
        """End the line."""
        print(f"  ({context.agent_name}, session {context.session_id})", flush=True)


guide = Agent(client=models.chat_client(), name="guide", instructions="You know places and tell of them briefly.")


def build_workflow() -> Workflow:
    """Build it: an editor, and a writer that is asked for one chapter after the other.

    The writer is an agent as a step of the graph: it is one whose words can be heard while they are being said.
    """
    editor, writer = Editor(guide), AgentExecutor(guide, id="write")
    builder = WorkflowBuilder(name="travel_guide", start_executor=editor, output_from=[writer])
    return builder.add_edge(editor, writer).add_edge(writer, editor).build()


app = AgentFunctionApp(agents=[guide], workflow=build_workflow(), default_callback=Terminal())
