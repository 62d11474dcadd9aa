"""A travel guide, written chapter by chapter, and its writer to talk to; both can be watched while they are at work."""

from __future__ import annotations

from dataclasses import dataclass

from agent_framework import (
    Agent,
    AgentResponse,
    AgentResponseUpdate,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)
from pydantic import BaseModel, Field

import models
from perdure import AgentCallbackContext, AgentFunctionApp

PLACE = "place"
"""Where the shared state has what the guide is about."""


class Plan(BaseModel):
    """What the agent answers when it is asked what the guide should have."""

    chapters: list[str] = Field(description="The titles of three chapters.")


@dataclass
class ToWrite:
    """The titles of the chapters that are still to be written."""

    titles: list[str]


@dataclass
class Chapter:
    """A chapter, as it is given out."""

    title: str
    text: str


class Planner(Executor):
    """Decides what chapters the guide has."""

    def __init__(self, agent: Agent) -> None:
        super().__init__("plan")
        self.agent = agent

    @handler
    async def plan(self, place: str, ctx: WorkflowContext[ToWrite]) -> None:
        """Ask for the titles."""
        ctx.set_state(PLACE, place)
        question = f"Which chapters should a short travel guide to {place} have?"
        answer = await self.agent.run(question, options={"response_format": Plan})
        await ctx.send_message(ToWrite(Plan.model_validate_json(answer.text).chapters))


class Writer(Executor):
    """Writes one chapter a superstep, so that each is given out, and kept for good, as soon as it is there."""

    def __init__(self, agent: Agent) -> None:
        super().__init__("write")
        self.agent = agent

    @handler
    async def write(self, to_write: ToWrite, ctx: WorkflowContext[ToWrite, Chapter]) -> None:
        """Write the first of the chapters and send itself the others."""
        title, *others = to_write.titles
        place: str = ctx.get_state(PLACE)
        answer = await self.agent.run(f"Write the chapter '{title}' of a travel guide to {place}, in three sentences.")
        await ctx.yield_output(Chapter(title, answer.text))
        if others:
            await ctx.send_message(ToWrite(others))


class Terminal:
    """Shows an agent's answer in the terminal of the host, piece by piece as it comes."""

    async def on_streaming_response_update(self, update: AgentResponseUpdate, context: AgentCallbackContext) -> None:
        """Show a piece."""
        print(update.text, end="", flush=True)

    async def on_agent_response(self, response: AgentResponse, context: AgentCallbackContext) -> None:
        """End the line."""
        print(f"  ({context.agent_name}, session {context.session_id})", flush=True)


guide = Agent(client=models.chat_client(), name="guide", instructions="You know places and tell of them briefly.")


def build_workflow() -> Workflow:
    """Build it: a plan, and a writer that goes on until all chapters are written."""
    planner, writer = Planner(guide), Writer(guide)
    builder = WorkflowBuilder(name="travel_guide", start_executor=planner, output_from=[writer])
    return builder.add_edge(planner, writer).add_edge(writer, writer).build()


app = AgentFunctionApp(agents=[guide], workflow=build_workflow(), default_callback=Terminal())
