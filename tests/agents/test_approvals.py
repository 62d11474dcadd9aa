from __future__ import annotations

from typing import Any

import pytest
from agent_framework import FunctionTool, tool
from tests.agents import world

from perdure import testing

PAID: list[int] = []


def paying() -> FunctionTool:
    @tool(approval_mode="always_require")
    def pay(amount: int) -> str:
        """Pay an amount."""
        PAID.append(amount)
        return f"paid {amount}"

    return pay


def clerk(messages: Any, options: Any) -> Any:
    """Pays 5 when it may, and then says what it did."""
    results = [item.result for message in messages for item in message.contents if item.type == "function_result"]
    return "; ".join(map(str, results)) if results else [testing.tool_call("pay", {"amount": 5})]


def approval(request: str, approved: bool) -> list[dict[str, Any]]:
    return [{"type": "function_approval_response", "id": request, "approved": approved}]


@pytest.mark.parametrize(("approved", "paid"), [(True, [5]), (False, [])])
@pytest.mark.parametrize("restarts", [False, True])
async def test_an_agent_asks_for_approval_in_its_answer_and_is_given_it_in_the_next_turn(
    approved: bool, paid: list[int], restarts: bool
) -> None:
    PAID.clear()
    app = world.app_of(testing.ScriptedChatClient(clerk), tools=[paying()])
    async with world.serve(app) as there:
        (asked,) = (await there.say("pay 5", session_id="s")).json()["requests"]
        assert PAID == []
        if restarts:
            await there.crash()
        answered = await there.say(approval(asked["id"], approved), session_id="s")

    assert (asked["function_call"]["name"], asked["type"]) == ("pay", "function_approval_request")
    assert answered.status_code == 200, answered.text
    assert paid == PAID


async def test_an_approval_of_what_the_session_did_not_ask_is_refused_and_nothing_is_called() -> None:
    PAID.clear()
    app = world.app_of(testing.ScriptedChatClient(clerk), tools=[paying()])
    async with world.serve(app) as there:
        (asked,) = (await there.say("pay 5", session_id="s")).json()["requests"]
        foreign = await there.say(approval(asked["id"], True), session_id="another")

    assert foreign.status_code == 500 and "none of the session's: none" in foreign.json()["error"]
    assert PAID == []
