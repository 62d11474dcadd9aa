# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false, reportAttributeAccessIssue=false
"""A person approves, or time runs out and it is escalated."""

import datetime

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="expenses", methods=["POST"])
@app.durable_client_input(client_name="client")
async def claim(req: func.HttpRequest, client):
    instance_id = await client.start_new("approve", None, req.get_json())
    return client.create_check_status_response(req, instance_id)


@app.route(route="expenses/{id}/{verdict}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def decide(req: func.HttpRequest, client) -> func.HttpResponse:
    await client.raise_event(req.route_params["id"], "Approval", req.route_params["verdict"])
    return func.HttpResponse(status_code=202)


@app.orchestration_trigger(context_name="context")
def approve(context: df.DurableOrchestrationContext):
    asked = context.get_input()
    yield context.call_activity("ask", asked)
    deadline = context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=asked["seconds"]))
    approval = context.wait_for_external_event("Approval")
    first = yield context.task_any([approval, deadline])
    if first == approval:
        deadline.cancel()
        return (yield context.call_activity("pay", approval.result))
    return (yield context.call_activity("escalate", asked["amount"]))


@app.activity_trigger(input_name="asked")
def ask(asked: dict) -> None:
    pass


@app.activity_trigger(input_name="verdict")
def pay(verdict: str) -> str:
    return f"said {verdict}"


@app.activity_trigger(input_name="amount")
def escalate(amount: int) -> str:
    return f"escalated {amount}"
