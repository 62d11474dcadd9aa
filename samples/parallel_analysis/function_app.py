"""Several readers go over a contract at once, each with a question of its own; a report gathers what they found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Never

from agent_framework import (
    Agent,
    BaseChatClient,
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    executor,
    handler,
)
from pydantic import BaseModel, Field

import models
from perdure import AgentFunctionApp

CONTRACT = "contract"
"""Where the shared state has the text."""

QUESTIONS = {
    "risks": "What could become expensive or end the contract: liability, penalties, termination?",
    "duties": "What must be done, by whom and by when?",
    "left_open": "What is left vague or still to be agreed?",
}


class Findings(BaseModel):
    """What an agent answers."""

    points: list[str] = Field(description="One finding each, in a sentence, the most important first.")


@dataclass
class Received:
    """What the readers are sent: that there is a contract. Its text stays in the shared state."""

    words: int


@dataclass
class Section:
    """What one reader found."""

    title: str
    points: list[str]


@dataclass
class Report:
    """What all of them found."""

    words: int
    sections: list[Section]


@executor(id="intake")
async def intake(contract: str, ctx: WorkflowContext[Received]) -> None:
    """Keep the text, once, and tell the readers that it is there."""
    ctx.set_state(CONTRACT, contract)
    await ctx.send_message(Received(len(contract.split())))


class Reader(Executor):
    """Asks an agent one question about the contract."""

    def __init__(self, id: str, question: str, client: BaseChatClient[Any]) -> None:
        super().__init__(id)
        instructions = f"You read contracts for a small company. Answer from the text alone. {question}"
        self.agent = Agent(client=client, name=id, instructions=instructions)

    @handler
    async def read(self, received: Received, ctx: WorkflowContext[Section]) -> None:
        """Read the text where it is kept."""
        contract: str = ctx.get_state(CONTRACT)
        answer = await self.agent.run(contract, options={"response_format": Findings})
        await ctx.send_message(Section(self.id, Findings.model_validate_json(answer.text).points))


@executor(id="figures")
async def figures(received: Received, ctx: WorkflowContext[Section]) -> None:
    """Find sums and dates. That takes no model."""
    contract: str = ctx.get_state(CONTRACT)
    found = re.findall(r"EUR [\d,.]*\d|\d{1,2} [A-Z][a-z]+ 20\d\d|\d+ (?:days|months|years)", contract)
    await ctx.send_message(Section("figures", list(dict.fromkeys(found))))


@executor(id="report")
async def report(sections: list[Section], ctx: WorkflowContext[Never, Report]) -> None:
    """Gather the sections, in the order of the graph and not in that of arrival."""
    contract: str = ctx.get_state(CONTRACT)
    await ctx.yield_output(Report(len(contract.split()), sections))


def build_workflow() -> Workflow:
    """Build it: from the intake to all readers at once, and from them to the report."""
    client = models.chat_client()
    readers = [*(Reader(id, question, client) for id, question in QUESTIONS.items()), figures]
    return (
        WorkflowBuilder(name="contract", start_executor=intake, output_from=[report])
        .add_fan_out_edges(intake, readers)
        .add_fan_in_edges(readers, report)
        .build()
    )


app = AgentFunctionApp(workflow=build_workflow())
