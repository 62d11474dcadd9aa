from __future__ import annotations

import asyncio
import json

from perdure.hosts.local.functions import steps

from .conftest import ROOT, Serve, Served

APP = """
# mypy: ignore-errors
import time

import azure.durable_functions as df

app = df.DFApp()
inside = 0


@app.entity_trigger(context_name="context", entity_name="Log")
def log(context):
    global inside
    inside += 1
    assert inside == 1, "two operations at once"
    entries = context.get_state(lambda: [])
    # Other threads get their chance to come in between.
    time.sleep(0.001)
    if context.operation_name == "add":
        entries.append(context.get_input())
    context.set_state(entries)
    context.set_result(len(entries))
    inside -= 1


@app.orchestration_trigger(context_name="context")
def write(context):
    log = df.EntityId("Log", "l")
    for number in range(10):
        context.signal_entity(log, "add", number)
    return (yield context.call_entity(log, "count"))


@app.orchestration_trigger(context_name="context")
def nobody(context):
    yield context.call_entity(df.EntityId("Nobody", "n"), "count")
"""


async def test_operations_on_one_entity_never_overlap(serve: Serve) -> None:
    served: Served = await serve(APP)

    replies = await asyncio.gather(
        *(served.ask("POST", f"{ROOT}/entities/Log/l?op=add", json=str(number)) for number in range(40))
    )

    assert {reply.status_code for reply in replies} == {202}
    assert await served.output("write") == 50, "a call stands in line behind all that was accepted before it"
    assert sorted((await served.ask("GET", f"{ROOT}/entities/log/l")).json()[:40]) == list(range(40))


async def test_signals_of_one_orchestration_arrive_in_the_order_sent(serve: Serve) -> None:
    served: Served = await serve(APP)

    assert await served.output("write") == 10
    assert (await served.ask("GET", f"{ROOT}/entities/log/l")).json() == list(range(10))


async def test_a_message_that_comes_again_gets_the_same_answer_and_does_nothing(serve: Serve) -> None:
    served: Served = await serve(APP)
    entities = served.host.functions.entities
    message = steps.Step(0, "call", "@log@l", json.dumps("1"), operation="add", request="the-same")

    first = await entities.take(message)
    await served.crash()
    again = await served.host.functions.entities.take(message)

    assert first == again == '{"result": "1"}'
    assert (await served.ask("GET", f"{ROOT}/entities/log/l")).json() == [1]


async def test_an_unknown_entity_fails_the_orchestration_with_its_name(serve: Serve) -> None:
    served: Served = await serve(APP)

    assert "The function 'nobody' doesn't exist" in await served.output("nobody")
