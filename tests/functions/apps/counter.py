# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false
"""A counter as an entity: signalled and read over HTTP, called by an orchestration."""

import json

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.entity_trigger(context_name="context")
def Counter(context: df.DurableEntityContext) -> None:
    value = context.get_state(lambda: 0)
    operation = context.operation_name
    if operation == "add":
        value += context.get_input()
    elif operation == "reset":
        value = 0
    elif operation == "divide":
        value //= context.get_input()
    elif operation == "delete":
        context.destruct_on_exit()
        return
    context.set_state(value)
    context.set_result(value)


@app.route(route="counters/{key}/{amount:int}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def add(req: func.HttpRequest, client) -> func.HttpResponse:
    entity = df.EntityId("Counter", req.route_params["key"])
    await client.signal_entity(entity, "add", int(req.route_params["amount"]))
    return func.HttpResponse(status_code=202)


@app.route(route="counters/{key}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def read(req: func.HttpRequest, client) -> func.HttpResponse:
    found = await client.read_entity_state(df.EntityId("Counter", req.route_params["key"]))
    return func.HttpResponse(
        json.dumps({"exists": found.entity_exists, "value": found.entity_state}), mimetype="application/json"
    )


@app.orchestration_trigger(context_name="context")
def tally(context: df.DurableOrchestrationContext):
    counter = df.EntityId("Counter", context.get_input())
    for amount in (1, 2, 3):
        context.signal_entity(counter, "add", amount)
    seen = yield context.call_entity(counter, "get")
    try:
        yield context.call_entity(counter, "divide", 0)
    except Exception as error:
        seen = [seen, str(error)]
    context.signal_entity(counter, "add", 10)
    return seen
