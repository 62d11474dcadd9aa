"""A customer's mail is sorted by an agent; what it is about decides who deals with it."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any, Literal

import azure.durable_functions as df
import azure.functions as func
from agent_framework import Agent
from pydantic import BaseModel, Field

import models
from perdure import AgentFunctionApp

logger = logging.getLogger("conditionals")


class Sorted(BaseModel):
    """What the agent that sorts answers."""

    about: Literal["refund", "fault", "other"]
    order: str | None = Field(default=None, description="The order's number, if the mail names one.")


client = models.chat_client()
sorter = Agent(
    client=client,
    name="sorter",
    instructions="You sort mails of customers: they want their money back, or report a fault, or something else.",
)
technician = Agent(
    client=client,
    name="technician",
    instructions="You help customers of a bicycle shop with faults: one thing to try, in two sentences.",
)
app = AgentFunctionApp(agents=[sorter, technician])


@app.orchestration_trigger(context_name="context")
def handle(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, str]]:
    """Sort the mail, and go the way that it needs."""
    mail = context.get_input()
    answer = yield app.get_agent(context, "sorter").run(mail, options={"response_format": Sorted})
    found: Sorted = answer.value
    if found.about == "fault":
        advice = yield app.get_agent(context, "technician").run(mail)
        return {"about": found.about, "reply": advice.text}
    if found.about == "refund" and found.order:
        reply = yield context.call_activity("refund", found.order)
    elif found.about == "refund":
        reply = "Which order is it? Please send us its number."
    else:
        reply = yield context.call_activity("hand_over", mail)
    return {"about": found.about, "reply": reply}


@app.activity_trigger(input_name="order")
def refund(order: str) -> str:
    """Pay an order back. A real one would send the order's number along as idempotency key."""
    logger.info("Paying order %s back.", order)
    return f"Order {order} is paid back within three days."


@app.activity_trigger(input_name="mail")
def hand_over(mail: str) -> str:
    """Put a mail on a person's desk."""
    logger.info("For a person: %s", mail)
    return "One of us will answer you tomorrow."


@app.route(route="mails", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take a mail as text; answer with the reply, or after ten seconds with where to look for it."""
    mail = req.get_body().decode().strip()
    if not mail:
        return func.HttpResponse("Send the mail as text.", status_code=400)
    instance_id = await client.start_new("handle", client_input=mail)
    return await client.wait_for_completion_or_create_check_status_response(req, instance_id, 10_000, 200)
