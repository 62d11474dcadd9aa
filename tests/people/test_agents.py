from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import Agent, AgentExecutor, AgentResponse, Content, FunctionTool, Workflow, WorkflowBuilder, tool
from tests.people import desk

from perdure import testing

Answer = Callable[[str], Any]

APPROVALS: list[tuple[str, Answer, bool]] = [
    ("true", lambda _: True, True),
    ("false", lambda _: False, False),
    ("approved", lambda _: {"approved": True}, True),
    ("not approved", lambda _: {"approved": False}, False),
    ("content", lambda request: {"type": "function_approval_response", "id": request, "approved": True}, True),
]


class Till:
    """Pays, and remembers what."""

    def __init__(self) -> None:
        self.paid: list[int] = []

    def tool(self) -> FunctionTool:
        @tool(approval_mode="always_require")
        def pay(amount: int) -> str:
            """Pay an amount."""
            self.paid.append(amount)
            return f"paid {amount}"

        return pay


def clerk(till: Till, *amounts: int) -> Workflow:
    """An agent that pays each amount, if it may, and then says what it did."""

    def answer(messages: Any, options: Any) -> Any:
        results = [item.result for message in messages for item in message.contents if item.type == "function_result"]
        return "; ".join(results) if results else [testing.tool_call("pay", {"amount": amount}) for amount in amounts]

    agent = Agent(client=testing.ScriptedChatClient(answer), name="clerk", tools=[till.tool()])
    return WorkflowBuilder(start_executor=AgentExecutor(agent, id="clerk")).build()


async def in_process(workflow: Workflow, *approved: bool) -> list[str]:
    result = await workflow.run("pay them")
    for asked, yes in zip(result.get_request_info_events(), approved, strict=True):
        response = asked.data.to_function_approval_response(yes)
        result = await workflow.run(responses={asked.request_id: response})
    return [output.text for output in result.get_outputs()]


@pytest.mark.parametrize(("answer", "approved"), [case[1:] for case in APPROVALS], ids=[case[0] for case in APPROVALS])
async def test_an_agents_tool_approval_pauses_the_run_and_is_answered_like_any_request(
    answer: Answer, approved: bool
) -> None:
    till, other = Till(), Till()
    async with desk.hosted(desk.app_of(clerk(till, 5))) as start:
        at = await start("pay them")
        (asked,) = await at.parked(1)
        assert till.paid == []
        await at.again()
        await at.say(asked["requestId"], answer(asked["requestId"]))
        await at.output()
        (output,) = await at.host.outputs(at.run)

    assert asked["requestData"]["function_call"]["arguments"] == {"amount": 5}
    assert {asked["requestType"], asked["responseType"]} == {"agent_framework._types:Content"}
    assert {"type": "boolean"} in asked["responseSchema"]["anyOf"]
    assert till.paid == ([5] if approved else [])
    assert isinstance(output, AgentResponse)
    assert [output.text] == await in_process(clerk(other, 5), approved)
    assert other.paid == till.paid


async def test_an_agent_that_asks_twice_goes_on_when_both_are_answered_in_any_order() -> None:
    till, other = Till(), Till()
    async with desk.hosted(desk.app_of(clerk(till, 5, 7))) as start:
        at = await start("pay them")
        first, second = await at.parked(1)
        await at.say(second["requestId"], True)
        assert [asked["requestId"] for asked in await at.parked(2)] == [first["requestId"]]
        await at.again()
        await at.say(first["requestId"], False)
        await at.output()
        (output,) = await at.host.outputs(at.run)

    assert till.paid == [7]
    assert [output.text] == await in_process(clerk(other, 5, 7), False, True)


@pytest.mark.parametrize(
    "body",
    [
        "yes",
        1,
        {},
        {"approved": "yes"},
        {"type": "text", "text": "yes"},
        [True],
        {"approved": True, "id": "other"},
    ],
)
async def test_an_approval_that_is_none_is_refused_and_the_request_stays_open(body: Any) -> None:
    till = Till()
    async with desk.hosted(desk.app_of(clerk(till, 5))) as start:
        at = await start("pay them")
        (asked,) = await at.parked(1)
        answer = await at.answer(asked["requestId"], body)
        (still,) = await at.pending()

    assert answer.status_code == 422
    assert still == asked
    assert till.paid == []


async def test_what_runs_is_the_call_that_was_shown_whatever_the_answer_says() -> None:
    till = Till()
    async with desk.hosted(desk.app_of(clerk(till, 5))) as start:
        at = await start("pay them")
        (asked,) = await at.parked(1)
        call = {**asked["requestData"]["function_call"], "arguments": {"amount": 5000}}
        forged = {"type": "function_approval_response", "id": asked["requestId"], "approved": True}
        await at.say(asked["requestId"], {**forged, "function_call": call})
        await at.output()

    assert till.paid == [5]


@pytest.mark.parametrize("form", ["plain", "content"])
async def test_a_tool_that_people_carry_out_is_answered_with_its_result(form: str) -> None:
    def answer(messages: Any, options: Any) -> Any:
        results = [item.result for message in messages for item in message.contents if item.type == "function_result"]
        return f"They say {results[-1]}." if results else testing.tool_call("ask_the_owner", {"question": "blue?"})

    asking = FunctionTool(name="ask_the_owner", description="Ask.", input_model={"type": "object", "properties": {}})
    agent = Agent(client=testing.ScriptedChatClient(answer), name="clerk", tools=[asking])
    workflow = WorkflowBuilder(start_executor=AgentExecutor(agent, id="clerk")).build()
    async with desk.hosted(desk.app_of(workflow)) as start:
        at = await start("paint it")
        (asked,) = await at.parked(1)
        await at.again()
        call_id = asked["requestData"]["call_id"]
        full = Content.from_function_result(call_id, result="rather green").to_dict()
        await at.say(asked["requestId"], "rather green" if form == "plain" else full)
        await at.output()
        (output,) = await at.host.outputs(at.run)

    assert asked["requestData"]["arguments"] == {"question": "blue?"}
    assert output.text == "They say rather green."


async def test_two_runs_of_one_agent_are_approved_apart() -> None:
    till = Till()
    async with desk.hosted(desk.app_of(clerk(till, 5))) as start:
        desks = await asyncio.gather(*(start("pay them", f"r{number}") for number in range(8)))
        asked = [(await at.parked(1))[0]["requestId"] for at in desks]
        assert len(set(asked)) == 8
        for number, (at, request) in enumerate(zip(desks, asked, strict=True)):
            await at.say(request, number % 2 == 0)
            await at.output()

    assert till.paid == [5] * 4
