# mypy: ignore-errors
# pyright: basic
from __future__ import annotations

import json
import typing
from dataclasses import dataclass

import azure.durable_functions as df
import azure.functions as func
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, response_handler

from perdure import AgentFunctionApp


@dataclass
class Review:
    text: str


class Approval(Executor):
    @handler
    async def take(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(Review(text), bool, request_id="approval")

    @response_handler
    async def answered(self, asked: Review, answer: bool, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"{asked.text}: {answer}")


@dataclass
class Order:
    pieces: int


class Packing(Executor):
    @handler
    async def take(self, order: Order, ctx: WorkflowContext[str, str]) -> None:
        if order.pieces < 0:
            raise ValueError("less than nothing")
        for piece in range(order.pieces):
            await ctx.yield_output(f"piece {piece}")


app = AgentFunctionApp(
    workflows=[
        WorkflowBuilder(start_executor=Approval(id="approval"), name="approval").build(),
        WorkflowBuilder(start_executor=Packing(id="packing"), name="order").build(),
    ]
)
RETRY = df.RetryOptions(10, 2)


@app.route(route="start/{name}/{id?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    given = req.route_params
    started = await client.start_new(given["name"], instance_id=given.get("id"), client_input=req.get_json())
    return func.HttpResponse(started)


@app.route(route="answer/{id}/{request}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def answer(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    try:
        await client.raise_event(req.route_params["id"], req.route_params["request"], req.get_json())
    except Exception as error:
        return func.HttpResponse(str(error), status_code=409)
    return func.HttpResponse("sent")


@app.route(route="look/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def look(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    status = await client.get_status(req.route_params["id"])
    every = await client.get_status_all()
    shown = {**status.to_json(), "all": sorted(str(each.instance_id) for each in every)}
    return func.HttpResponse(json.dumps(shown))


@app.route(route="end/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def end(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    await client.terminate(req.route_params["id"], "no longer wanted")
    return func.HttpResponse("sent")


@app.orchestration_trigger(context_name="context")
def batch(context: df.DurableOrchestrationContext) -> typing.Any:
    orders = [context.call_sub_orchestrator("dafx-order", each) for each in context.get_input() or ()]
    return (yield context.task_all(orders))


@app.orchestration_trigger(context_name="context")
def approved(context: df.DurableOrchestrationContext) -> typing.Any:
    return (yield context.call_sub_orchestrator("dafx-approval", context.get_input(), "the-approval"))


@app.orchestration_trigger(context_name="context")
def stubborn(context: df.DurableOrchestrationContext) -> typing.Any:
    return (yield context.call_sub_orchestrator_with_retry("dafx-order", RETRY, context.get_input(), "the-order"))
