# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false, reportAttributeAccessIssue=false
"""A person proves a phone number: three tries at a code, in the time of one timer. A blueprint in a FunctionApp."""

import datetime

import azure.durable_functions as df
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
challenge = df.Blueprint()


@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"Hello, {req.params.get('name')}.")


@challenge.route(route="prove/{number}")
@challenge.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client) -> func.HttpResponse:
    instance_id = await client.start_new("prove", client_input=req.route_params["number"])
    return client.create_check_status_response(req, instance_id)


@challenge.orchestration_trigger(context_name="context")
def prove(context: df.DurableOrchestrationContext):
    number = context.get_input()
    if not number:
        raise ValueError("A number is needed.")
    code = yield context.call_activity("send_code", number)
    deadline = context.create_timer(context.current_utc_datetime + datetime.timedelta(minutes=10))
    proven = False
    for _ in range(3):
        answer = context.wait_for_external_event("Code")
        first = yield context.task_any([answer, deadline])
        if first != answer:
            break
        if answer.result == code:
            proven = True
            break
    if not deadline.is_completed:
        deadline.cancel()
    return proven


@challenge.activity_trigger(input_name="number")
def send_code(number: str) -> int:
    return len(number)


@challenge.orchestration_trigger(context_name="context")
def text_it(context: df.DurableOrchestrationContext):
    yield context.call_activity("send_text", "hello")


@challenge.activity_trigger(input_name="text")
@challenge.generic_output_binding(arg_name="message", type="twilioSms")
def send_text(text: str, message: func.Out[str]) -> None:
    message.set(text)


app.register_functions(challenge)
