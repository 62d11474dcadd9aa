from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from agent_framework import (
    Executor,
    Message,
    RunContext,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
    step,
    workflow,
)
from tests.agents import world

from perdure import AgentFunctionApp

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[str]]:
    CALLS.clear()
    yield CALLS
    CALLS.clear()


class Verdict(pydantic.BaseModel):
    """What somebody says of a draft."""

    approved: bool
    note: str = ""


class Desk(Executor):
    """Asks of everything that it is told, and counts in an attribute and in the shared state."""

    def __init__(self) -> None:
        super().__init__(id="desk")
        self.asked: list[str] = []

    @handler
    async def take(self, told: list[Message], ctx: WorkflowContext[str, str]) -> None:
        self.asked.append(told[-1].text)
        ctx.set_state("turns", ctx.get_state("turns", 0) + 1)
        for part in told[-1].text.split(" and "):
            await ctx.request_info({"draft": part}, Verdict)

    @response_handler
    async def hear(self, asked: dict[str, str], said: Verdict, ctx: WorkflowContext[str, str]) -> None:
        turns = ctx.get_state("turns")
        await ctx.yield_output(f"{asked['draft']}: {said.approved} {said.note} ({turns}, {'|'.join(self.asked)})")


def desk() -> Workflow:
    return WorkflowBuilder(start_executor=Desk(), name="desk").build()


class Echo(Executor):
    """Says how much it was told, and the last of it."""

    @handler
    async def take(self, told: list[Message], ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"{len(told)}:{told[-1].text}")


def served(agent: Any) -> Any:
    return world.serve(AgentFunctionApp(agents=[agent], app_folder=world.TESTS))


def result(call: str, value: Any) -> list[dict[str, Any]]:
    return [{"type": "function_result", "call_id": call, "result": value}]


async def test_a_workflow_as_an_agent_has_sessions_with_their_history() -> None:
    built = WorkflowBuilder(start_executor=Echo(id="echo"), name="echo").build()
    async with served(built.as_agent(name="helper")) as there:
        first = (await there.say("one", session_id="s")).json()
        await there.crash()
        second = (await there.say("two", session_id="s")).json()
        other = (await there.say("three", session_id="other")).json()

    assert (first["response"], second["response"], other["response"]) == ("1:one", "3:two", "1:three")
    assert "requests" not in first


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_a_workflow_asks_is_in_the_answer_and_answered_in_the_next_turn(restarts: bool) -> None:
    async with served(desk().as_agent(name="helper")) as there:
        asked = (await there.say("plan", session_id="s")).json()
        (request,) = asked["requests"]
        if restarts:
            await there.crash()
        answered = (
            await there.say(result(request["call_id"], {"approved": True, "note": "go"}), session_id="s")
        ).json()
        if restarts:
            await there.crash()
        again = (await there.say("next", session_id="s")).json()
        (following,) = again["requests"]
        last = (await there.say(result(following["call_id"], {"approved": False}), session_id="s")).json()

    assert request["type"] == "function_call" and request["name"] == "request_info"
    assert request["arguments"]["request_event"]["data"] == {"draft": "plan"}
    assert answered["response"] == "plan: True go (1, plan)"
    assert last["response"] == "next: False  (2, plan|next)", "attributes and shared state last from turn to turn"


async def test_sessions_of_a_workflow_share_nothing() -> None:
    async with served(desk().as_agent(name="helper")) as there:
        ids = {}
        for name in ("a", "b"):
            told = (await there.say(f"plan {name}", session_id=name)).json()
            ids[name] = told["requests"][0]["call_id"]
        foreign = await there.say(result(ids["a"], {"approved": True}), session_id="b")
        own = await there.say(result(ids["b"], {"approved": True}), session_id="b")

    assert foreign.status_code == 500 and ids["b"] in foreign.json()["error"]
    assert own.json()["response"] == "plan b: True  (1, plan b)"


async def test_several_requests_of_a_turn_are_answered_one_by_one() -> None:
    async with served(desk().as_agent(name="helper")) as there:
        asked = (await there.say("x and y", session_id="s")).json()["requests"]
        ids = {item["arguments"]["request_event"]["data"]["draft"]: item["call_id"] for item in asked}
        second = (await there.say(result(ids["y"], {"approved": True}), session_id="s")).json()
        await there.crash()
        first = (await there.say(result(ids["x"], {"approved": False}), session_id="s")).json()

    assert second["response"] == "y: True  (1, x and y)"
    assert first["response"] == "x: False  (1, x and y)"


WRONG: list[tuple[Any, str]] = [
    ("yes", "waits for answers to"),
    (result("another", {"approved": True}), "for 'another'"),
    (result("", {"approved": "perhaps"}), "/result/approved"),
    ([{"type": "function_approval_response", "id": "nobody", "approved": True}], "for 'nobody'"),
]


@pytest.mark.parametrize(("message", "said"), WRONG)
async def test_a_wrong_answer_is_refused_with_the_reason_and_the_request_stays_open(message: Any, said: str) -> None:
    async with served(desk().as_agent(name="helper")) as there:
        asked = (await there.say("plan", session_id="s")).json()
        call = asked["requests"][0]["call_id"]
        if isinstance(message, list) and message[0].get("call_id") == "":
            message = result(call, message[0]["result"])
        refused = await there.say(message, session_id="s")
        answered = (await there.say(result(call, {"approved": True}), session_id="s")).json()

    assert refused.status_code == 500 and said in refused.json()["error"]
    assert answered["response"] == "plan: True  (1, plan)"


@step
async def draft(text: str) -> str:
    CALLS.append(f"draft {text}")
    return text.upper()


@workflow
async def writer(told: list[Message], ctx: RunContext) -> str:
    """Drafts, and asks twice."""
    text = await draft(told[-1].text)
    said: Verdict = await ctx.request_info({"draft": text}, Verdict)
    name: str = await ctx.request_info("who signs?", str)
    return f"{text} {said.note} {name}"


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_function_as_an_agent_pauses_between_turns(restarts: bool, calls: list[str]) -> None:
    async with served(writer.build().as_agent(name="helper")) as there:
        (first,) = (await there.say("plan", session_id="s")).json()["requests"]
        other = (await there.say("other", session_id="t")).json()
        if restarts:
            await there.crash()
        refused = await there.say(result(first["id"], {"approved": "perhaps"}), session_id="s")
        (second,) = (await there.say(result(first["id"], {"approved": True, "note": "go"}), session_id="s")).json()[
            "requests"
        ]
        if restarts:
            await there.crash()
        done = (await there.say(result(second["id"], "Ann"), session_id="s")).json()
        again = (await there.say("again", session_id="s")).json()

    assert first["type"] == "function_approval_request"
    assert first["function_call"]["arguments"]["data"] == {"draft": "PLAN"}
    assert refused.status_code == 500 and "/result/approved" in refused.json()["error"]
    assert done["response"] == "PLAN go Ann" and "requests" not in done
    assert len(again["requests"]) == 1 and len(other["requests"]) == 1
    assert calls == ["draft plan", "draft other", "draft again"], "a step that returned is not run again"
