"""A job advert in two steps: one agent writes it, then shortens it in the same conversation."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from agent_framework import Agent

import models
from perdure import AgentFunctionApp

writer = Agent(
    client=models.chat_client(),
    name="writer",
    instructions="You write job adverts: plain, friendly, and with no fact that you were not given.",
)
app = AgentFunctionApp(agents=[writer])


@app.orchestration_trigger(context_name="context")
def advert(context: df.DurableOrchestrationContext) -> Generator[Any, Any, dict[str, str]]:
    """Write, then shorten. The session is the conversation: the second turn knows the first."""
    agent = app.get_agent(context, "writer")
    session = agent.create_session()
    draft = yield agent.run(f"Write a job advert. The facts: {context.get_input()}", session=session)
    short = yield agent.run("Make it half as long. Keep the facts.", session=session)
    return {"draft": draft.text, "advert": short.text}


@app.route(route="adverts", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take the facts as text; answer with the advert, or after ten seconds with where to look for it."""
    facts = req.get_body().decode().strip()
    if not facts:
        return func.HttpResponse("Send the facts about the job as text.", status_code=400)
    instance_id = await client.start_new("advert", client_input=facts)
    return await client.wait_for_completion_or_create_check_status_response(req, instance_id, 10_000, 200)
