# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false
"""A chain: each step takes what the one before gave."""

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="orchestrators/{functionName}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def http_start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    order = req.get_json() if req.get_body() else None
    instance_id = await client.start_new(
        req.route_params["functionName"], instance_id=req.params.get("id"), client_input=order
    )
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def fulfil(context: df.DurableOrchestrationContext):
    order = context.get_input()
    priced = yield context.call_activity("price", order)
    context.set_custom_status({"priced": priced["total"]})
    packed = yield context.call_activity(pack, priced)
    return (yield context.call_activity("ship", packed))


@app.activity_trigger(input_name="order")
def price(order: dict) -> dict:
    return {**order, "total": order["count"] * 5}


@app.activity_trigger(input_name="order")
async def pack(order: dict) -> dict:
    return {**order, "packed": True}


@app.activity_trigger(input_name="order")
def ship(order: dict) -> str:
    return f"{order['count']} x {order['item']} for {order['total']}, packed: {order['packed']}"
