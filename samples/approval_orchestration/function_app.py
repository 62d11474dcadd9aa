"""An agent drafts the reply to a mail; a person approves it or sends it back, in an orchestration written by hand."""

from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Generator
from typing import Any, TypedDict

import azure.durable_functions as df
import azure.functions as func
import pydantic
from agent_framework import Agent
from pydantic import BaseModel, Field

import models
from perdure import AgentFunctionApp

logger = logging.getLogger("approval_orchestration")

TWO_DAYS_SECONDS = 2 * 24 * 3600.0


class Asked(BaseModel):
    """The body that starts it."""

    mail: str = Field(min_length=1)
    wait_seconds: float = Field(default=TWO_DAYS_SECONDS, gt=0, description="How long a draft waits for a decision.")


class Decision(BaseModel):
    """What the person says: approve it, or send it back with what is to be better."""

    approved: bool
    text: str | None = Field(default=None, description="The reply to send instead of the draft.")
    feedback: str | None = Field(default=None, description="What the next draft must do better.")


drafter = Agent(client=models.chat_client(), name="drafter", instructions="You draft short, friendly replies to mails.")
app = AgentFunctionApp(agents=[drafter])


@app.orchestration_trigger(context_name="context")
def reply(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    """Draft, ask, and draft again for as long as the person wants. What nobody decides in time is not sent."""
    asked = Asked.model_validate(context.get_input())
    agent = app.get_agent(context, "drafter")
    session = agent.create_session()
    draft = yield agent.run(f"Draft a short reply to this mail:\n{asked.mail}", session=session)
    patience, number = datetime.timedelta(seconds=asked.wait_seconds), 0
    while True:
        number += 1
        # A decision on one draft is never one on the next: the event's name has the draft's number.
        waiting = {"event": f"decision-{number}", "mail": asked.mail, "draft": draft.text}
        context.set_custom_status(waiting)
        yield context.call_activity("tell", {"id": context.instance_id, **waiting})
        decided = context.wait_for_external_event(waiting["event"])
        too_late: Any = context.create_timer(context.current_utc_datetime + patience)
        winner = yield context.task_any([decided, too_late])
        context.set_custom_status(None)
        if winner is too_late:
            return "No reply sent: nobody decided in time."
        too_late.cancel()
        decision = Decision.model_validate_json(decided.result)
        if decision.approved:
            return (yield context.call_activity("send", decision.text or draft.text))
        if not decision.feedback:
            return "No reply sent."
        draft = yield agent.run(f"Draft it again. {decision.feedback}", session=session)


class Waiting(TypedDict):
    """What a person is told. The worker of Azure Functions takes a class here, and no ``dict[str, str]``."""

    id: str
    draft: str


@app.activity_trigger(input_name="waiting")
def tell(waiting: Waiting) -> None:
    """Tell a person. Here it is logged; a real application would send a mail with a link."""
    logger.warning("%s is to be decided: %s", waiting["id"], waiting["draft"])


@app.activity_trigger(input_name="text")
def send(text: str) -> str:
    """Send the reply. A real one would send the orchestration's id along as idempotency key."""
    return f"Reply sent: {text}"


@app.route(route="mails", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take a mail, under an id of the sender's own if wanted; answer with where to look."""
    try:
        asked = Asked.model_validate_json(req.get_body())
    except pydantic.ValidationError as error:
        return func.HttpResponse(str(error), status_code=400)
    instance_id = req.params.get("id") or uuid.uuid4().hex
    await client.start_new("reply", instance_id, asked.model_dump())
    return client.create_check_status_response(req, instance_id)


@app.route(route="mails/{id}/decision", methods=["POST"])
@app.durable_client_input(client_name="client")
async def decide(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take a decision, if there is something to decide."""
    try:
        decision = Decision.model_validate_json(req.get_body())
    except pydantic.ValidationError as error:
        return func.HttpResponse(str(error), status_code=400)
    status = await client.get_status(req.route_params["id"])
    if status is None or not status.custom_status:
        return func.HttpResponse("There is nothing to decide.", status_code=404 if status is None else 409)
    await client.raise_event(req.route_params["id"], status.custom_status["event"], decision.model_dump())
    return func.HttpResponse("Taken.", status_code=202)
