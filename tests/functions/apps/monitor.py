# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false
"""A monitor: looks again and again, until what it waits for is there or it has waited long enough."""

import datetime

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
looks: list[str] = []
clear_after = 3


@app.route(route="monitor/{city}")
@app.durable_client_input(client_name="client")
async def start_monitor(req: func.HttpRequest, client):
    instance_id = await client.start_new("watch", client_input={"city": req.route_params["city"], "seconds": 30})
    return client.create_check_status_response(req, instance_id)


@app.orchestration_trigger(context_name="context")
def watch(context: df.DurableOrchestrationContext):
    asked = context.get_input()
    until = context.current_utc_datetime + datetime.timedelta(seconds=asked["seconds"])
    while context.current_utc_datetime < until:
        sky = yield context.call_activity("look", asked["city"])
        if sky == "clear":
            yield context.call_activity("alert", asked["city"])
            return "clear"
        yield context.create_timer(context.current_utc_datetime + datetime.timedelta(milliseconds=30))
    return "gave up"


@app.activity_trigger(input_name="city")
def look(city: str) -> str:
    looks.append(city)
    return "clear" if len(looks) >= clear_after else "cloudy"


@app.activity_trigger(input_name="city")
def alert(city: str) -> None:
    looks.append(f"alert {city}")
