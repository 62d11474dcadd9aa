"""An agent drafts the reply to a mail; nothing is sent until a person has approved, edited or sent back the draft."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorRequest,
    AgentExecutorResponse,
    Executor,
    Message,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
)
from pydantic import BaseModel, Field

import models
from perdure import AgentFunctionApp, Deadline, WorkflowHitlContext

logger = logging.getLogger("approval")

TWO_DAYS_SECONDS = 2 * 24 * 3600.0


@dataclass
class Review:
    """What a person is shown."""

    mail: str
    draft: str
    round: int


class Decision(BaseModel):
    """What the person says: approve it, or send it back with what is to be better."""

    approved: bool
    text: str | None = Field(default=None, description="The reply to send instead of the draft.")
    feedback: str | None = Field(default=None, description="What the next draft must do better.")


def request_for(text: str) -> AgentExecutorRequest:
    """Ask the drafter for a draft."""
    return AgentExecutorRequest(messages=[Message("user", [text])])


class Intake(Executor):
    """Keeps the mail and asks for a draft."""

    @handler
    async def take(self, mail: str, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        """Keep it in the shared state."""
        ctx.set_state("mail", mail)
        await ctx.send_message(request_for(f"Draft a short reply to this mail:\n{mail}"))


class Reviewer(Executor):
    """Asks a person about each draft, and does what they decide."""

    def __init__(self) -> None:
        super().__init__(id="reviewer")
        self.rounds = 0

    @handler
    async def review(self, drafted: AgentExecutorResponse, ctx: WorkflowContext[AgentExecutorRequest, str]) -> None:
        """Ask; the run waits, for days if need be, and costs nothing meanwhile."""
        self.rounds += 1
        await ctx.request_info(Review(ctx.get_state("mail"), drafted.agent_response.text, self.rounds), Decision)
        address = WorkflowHitlContext.from_context(ctx)
        if address is not None:
            # Here a real application would send a mail with the link.
            request = await WorkflowHitlContext.pending_request_id(ctx)
            logger.warning("To be approved: POST %s", address.build_respond_url(request or ""))

    @response_handler
    async def decided(
        self, review: Review, decision: Decision, ctx: WorkflowContext[AgentExecutorRequest, str]
    ) -> None:
        """Send what was approved, ask for another draft, or give up."""
        if decision.approved:
            await ctx.yield_output(f"Reply sent: {decision.text or review.draft}")
        elif decision.feedback:
            await ctx.send_message(request_for(f"Draft it again. {decision.feedback}"))
        else:
            await ctx.yield_output("No reply sent.")


def build_workflow() -> Workflow:
    """Build it: intake, drafter and reviewer, and from there back to the drafter."""
    drafter = AgentExecutor(
        Agent(client=models.chat_client(), name="drafter", instructions="You draft short, friendly replies to mails."),
        id="drafter",
    )
    intake, reviewer = Intake(id="intake"), Reviewer()
    builder = WorkflowBuilder(name="approval", start_executor=intake, output_from=[reviewer])
    return builder.add_chain([intake, drafter, reviewer]).add_edge(reviewer, drafter).build()


app = AgentFunctionApp(
    workflow=build_workflow(),
    # What nobody decides within two days is not sent.
    deadlines={"Review": Deadline(TWO_DAYS_SECONDS, answer=Decision(approved=False))},
)
