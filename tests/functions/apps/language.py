# mypy: ignore-errors
# pyright: basic, reportOptionalSubscript=false, reportArgumentType=false, reportAttributeAccessIssue=false
"""What an orchestrator can say, a little of each."""

import asyncio
import datetime
import random
import threading

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
attempts: dict[str, int] = {}
opened = asyncio.Event()
left_behind = asyncio.Event()
runs: list[str] = []


def in_a_moment(context, milliseconds=20):
    return context.current_utc_datetime + datetime.timedelta(milliseconds=milliseconds)


@app.activity_trigger(input_name="value")
def echo(value):
    return value


@app.activity_trigger(input_name="value")
async def gated(value):
    await opened.wait()
    left_behind.set()
    return value


@app.activity_trigger(input_name="value", activity="Boom")
def explode(value: str) -> None:
    raise ValueError(f"no {value}")


@app.activity_trigger(input_name="job")
def flaky(job: dict) -> int:
    attempts[job["name"]] = attempts.get(job["name"], 0) + 1
    if attempts[job["name"]] < job["good_at"]:
        raise ConnectionError("not yet")
    return attempts[job["name"]]


@app.activity_trigger(input_name="value")
def where(value, context: func.Context) -> list:
    return [context.function_name, threading.current_thread() is threading.main_thread()]


@app.orchestration_trigger(context_name="context")
def retried(context):
    job = context.get_input()
    options = df.RetryOptions(first_retry_interval_in_milliseconds=10, max_number_of_attempts=3)
    try:
        first = yield context.call_activity_with_retry("flaky", options, job)
    except Exception as error:
        first = str(error).split("\n")[0].strip()
    second = yield context.call_activity("echo", "after")
    return [first, second]


@app.orchestration_trigger(context_name="context")
def fails(context):
    yield context.call_activity("Boom", "luck")


@app.orchestration_trigger(context_name="context")
def unknown(context):
    yield context.call_activity("nowhere", 1)


@app.orchestration_trigger(context_name="context")
def parent(context):
    own = yield context.call_sub_orchestrator("child", context.get_input())
    named = yield context.call_sub_orchestrator("child", 2, f"{context.instance_id}-named")
    options = df.RetryOptions(10, 2)
    try:
        yield context.call_sub_orchestrator_with_retry("fails", options, None, f"{context.instance_id}-again")
    except Exception as error:
        return [own, named, str(error).split("\n")[0].strip()]


@app.orchestration_trigger(context_name="context")
def child(context):
    doubled = yield context.call_activity("echo", context.get_input() * 2)
    return {"doubled": doubled, "parent": context.parent_instance_id}


@app.orchestration_trigger(context_name="context")
def eternal(context):
    count = context.get_input() or 0
    runs.append(f"{context.instance_id} {count}")
    yield context.create_timer(in_a_moment(context, 5))
    if count == 3:
        return count
    context.set_custom_status({"count": count})
    context.continue_as_new(count + 1)


@app.orchestration_trigger(context_name="context")
def listening(context):
    said = []
    while True:
        word = yield context.wait_for_external_event("word")
        if word == "stop":
            return said
        said.append(word)
        context.set_custom_status(said)


@app.orchestration_trigger(context_name="context")
def ids(context):
    before = [str(context.new_uuid()), str(context.new_guid()), context.current_utc_datetime.isoformat()]
    yield context.call_activity("echo", 1)
    yield context.create_timer(in_a_moment(context))
    return before


@app.orchestration_trigger(context_name="context")
def first_of_two(context):
    slow = context.call_activity("gated", "slow")
    fast = context.call_activity("echo", "fast")
    winner = yield context.task_any([slow, fast])
    return [winner == fast, winner.result]


@app.orchestration_trigger(context_name="context")
def all_or_nothing(context):
    tasks = [context.call_activity("echo", 1), context.call_activity("Boom", "luck")]
    try:
        yield context.task_all(tasks)
    except Exception as error:
        return str(error).split("\n")[0].strip()


@app.orchestration_trigger(context_name="context")
def mixed(context):
    """Its second task_any mixes an old task with a new one."""
    slow = context.call_activity("gated", "slow")
    fast = context.call_activity("echo", "fast")
    yield context.task_any([slow, fast])
    never = context.wait_for_external_event("never")
    winner = yield context.task_any([slow, never])
    done = yield context.call_activity("echo", winner.result)
    return done


@app.orchestration_trigger(context_name="context")
def random_steps(context):
    yield context.call_activity("echo", 1)
    if runs.append("random") or len(runs) % 2:
        yield context.call_activity("echo", 2)
    else:
        yield context.create_timer(in_a_moment(context, 60000 + random.random()))
    yield context.wait_for_external_event("never")


@app.orchestration_trigger(context_name="context")
def fetch(context):
    asked = context.get_input()
    response = yield context.call_http(asked["method"], asked["url"], asked.get("content"))
    return {"status": response["statusCode"], "content": response["content"]}


@app.orchestration_trigger(context_name="context")
def no_yields(context):
    return "at once"


@app.orchestration_trigger(context_name="context")
def place(context):
    return (yield context.call_activity("where"))


@app.orchestration_trigger(context_name="context")
def bad_output(context):
    yield context.call_activity("echo", 1)
    return {1, 2}


class Money:
    def __init__(self, amount: int):
        self.amount = amount

    @staticmethod
    def to_json(money) -> str:
        return str(money.amount)

    @staticmethod
    def from_json(text: str):
        return Money(int(text))


@app.activity_trigger(input_name="money")
def double(money: Money) -> Money:
    return Money(money.amount * 2)


@app.orchestration_trigger(context_name="context")
def own_types(context):
    money = yield context.call_activity(double, Money(4))
    return money.amount


@app.route(route="plain/{name?}", methods=["GET", "PUT"])
def plain(req: func.HttpRequest) -> func.HttpResponse:
    text = f"{req.method} {req.route_params.get('name')} {req.params.get('q')} {req.headers.get('X-One')} "
    return func.HttpResponse(text + req.get_body().decode(), status_code=201, headers={"X-Two": "2"})


@app.route(route="broken")
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("a secret")


@app.route(route="runs")
def runs_of_mine(req: func.HttpRequest) -> str:
    return "mine"


mended = False


@app.activity_trigger(input_name="value")
def fragile(value: str) -> str:
    runs.append(value)
    if not mended and value.startswith("bad"):
        raise OSError(value)
    return value


@app.orchestration_trigger(context_name="context")
def rewindable(context):
    first = yield context.call_activity("fragile", "first")
    two = yield context.task_all([context.call_activity("fragile", "good"), context.call_activity("fragile", "bad")])
    options = df.RetryOptions(5, 2)
    third = yield context.call_activity_with_retry("fragile", options, "third")
    return [first, *two, third]


@app.orchestration_trigger(context_name="context")
def rewindable_retries(context):
    options = df.RetryOptions(5, 2)
    first = yield context.call_activity_with_retry("fragile", options, "bad")
    second = yield context.call_sub_orchestrator("mendable")
    return [first, second]


@app.orchestration_trigger(context_name="context")
def mendable(context):
    return (yield context.call_activity("fragile", "bad child"))


@app.orchestration_trigger(context_name="context")
def rewindable_race(context):
    options = df.RetryOptions(60000, 2)
    slow = context.call_activity_with_retry("fragile", options, "bad one")
    winner = yield context.task_any([slow, context.call_activity("fragile", "bad two")])
    return winner.result if isinstance(winner.result, str) else explode(str(winner.result))


@app.orchestration_trigger(context_name="context")
def rewindable_child(context):
    return (yield context.call_sub_orchestrator("mendable"))
