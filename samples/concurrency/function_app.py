"""A proposal is reviewed by two agents at once, one for security and one for cost; the outcome has both reviews."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from agent_framework import Agent
from pydantic import BaseModel, Field

import models
from perdure import AgentFunctionApp

LOOKS_AT = {
    "security": "You review technical proposals for security: who can get at what, and what an attacker would try.",
    "cost": "You review technical proposals for cost: what has to be bought, run and looked after.",
}


class Review(BaseModel):
    """What a reviewer answers."""

    objections: list[str] = Field(description="What speaks against it, a sentence each; empty if nothing does.")


client = models.chat_client()
app = AgentFunctionApp(agents=[Agent(client=client, name=name, instructions=told) for name, told in LOOKS_AT.items()])


@app.orchestration_trigger(context_name="context")
def review(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, Any]]:
    """Ask both, wait for both."""
    proposal = context.get_input()
    answers = yield context.task_all(
        [app.get_agent(context, name).run(proposal, options={"response_format": Review}) for name in LOOKS_AT]
    )
    objections = {name: answer.value.objections for name, answer in zip(LOOKS_AT, answers, strict=True)}
    return {"accepted": not any(objections.values()), "objections": objections}


@app.route(route="reviews", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take a proposal as text; answer with the reviews, or after ten seconds with where to look for them."""
    proposal = req.get_body().decode().strip()
    if not proposal:
        return func.HttpResponse("Send the proposal as text.", status_code=400)
    instance_id = await client.start_new("review", client_input=proposal)
    return await client.wait_for_completion_or_create_check_status_response(req, instance_id, 10_000, 200)
