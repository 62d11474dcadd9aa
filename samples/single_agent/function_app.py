"""A support agent that knows where orders are. ``perdure start`` serves it."""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from agent_framework import Agent, BaseChatClient, Content, Message, tool

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient, tool_call

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


def build_agent(client: BaseChatClient[Any]) -> Agent[Any]:
    """Give the agent, on any chat client."""
    return Agent(
        client=client,
        name="support",
        description="Tells customers where their orders are.",
        instructions=INSTRUCTIONS,
        tools=[order_status],
    )


def client_from_environment(environment: Mapping[str, str] = os.environ) -> BaseChatClient[Any]:
    """Give a client of OpenAI, or of what speaks like it, if there is a key; else one that answers by rule."""
    if environment.get("OPENAI_API_KEY"):
        from agent_framework.openai import OpenAIChatCompletionClient

        return OpenAIChatCompletionClient(
            model=environment.get("OPENAI_MODEL") or "gpt-4.1-mini",
            api_key=environment["OPENAI_API_KEY"],
            base_url=environment.get("OPENAI_BASE_URL") or None,
        )
    logging.getLogger("single_agent").warning("OPENAI_API_KEY is not set: no model is asked, simple rules answer.")
    return ScriptedChatClient(by_rule)


def by_rule(messages: Sequence[Message], options: Mapping[str, Any]) -> str | Content:
    """Answer without a model: look up the order that was named last."""
    last = messages[-1]
    if last.role == "tool":
        return str(last.contents[0].result)
    for message in reversed(messages):
        named = re.search(r"\b\d{4}\b", message.text) if message.role == "user" else None
        if named is not None:
            return tool_call("order_status", {"number": named[0]})
    return "Which order is it? Please tell me its number."


app = AgentFunctionApp(
    agents=[build_agent(client_from_environment())],
    session_ttl=datetime.timedelta(days=30),
)
