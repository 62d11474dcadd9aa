"""A support agent that knows where orders are. ``perdure start`` serves it."""

from __future__ import annotations

import datetime
from typing import Annotated

from agent_framework import Agent, tool

import models
from perdure import AgentFunctionApp

ORDERS = {
    "1001": "packed, and leaves the warehouse today",
    "1002": "on its way, and arrives on Monday",
    "1003": "delivered last Friday, and left with the neighbour at number 12",
}
INSTRUCTIONS = """You answer customers of a shop, in a sentence or two. Look orders up with order_status;
ask for the number if you were not told it, and say so when there is no such order. Never guess."""


@tool(approval_mode="never_require")
def order_status(number: Annotated[str, "the order's number, four digits"]) -> str:
    """Say where an order is."""
    return f"Order {number} is {ORDERS[number]}." if number in ORDERS else f"There is no order {number}."


support = Agent(
    client=models.chat_client(),
    name="support",
    description="Tells customers where their orders are.",
    instructions=INSTRUCTIONS,
    tools=[order_status],
)

app = AgentFunctionApp(agents=[support], session_ttl=datetime.timedelta(days=30))
