"""What a company knows about itself, as tools for the assistants that its people use."""

from __future__ import annotations

from typing import Annotated

from agent_framework import Agent, tool

import models
from perdure import AgentFunctionApp

MEALS = {"france": 56, "italy": 52, "poland": 44}
PEOPLE = {"invoices": "Ann Kent, ext. 12", "payroll": "Bob Lind, ext. 31", "printers": "Cem Oz, ext. 40"}


@tool(approval_mode="never_require")
def meals_per_day(country: Annotated[str, "in English"]) -> str:
    """Say what may be spent on meals a day."""
    euros = MEALS.get(country.lower())
    return f"There is no rate for {country}; ask payroll." if euros is None else f"{country}: {euros} euros a day."


@tool(approval_mode="never_require")
def who_looks_after(matter: Annotated[str, f"such as {', '.join(PEOPLE)}"]) -> str:
    """Say who looks after a matter."""
    return PEOPLE.get(matter.lower(), f"Nobody is named for {matter}.")


client = models.chat_client()
# Assistants choose a tool by its description: say what it is good for.
travel_rules = Agent(
    client=client,
    name="travel_rules",
    description="Knows the company's rules for travel expenses. Ask it about rates and what is paid back.",
    instructions="You explain the company's rules for travel expenses. Look rates up; never guess one.",
    tools=[meals_per_day],
)
phone_book = Agent(
    client=client,
    name="phone_book",
    description="Knows who in the company looks after what, and how to reach them.",
    instructions="You say who looks after what. Look it up.",
    tools=[who_looks_after],
)

app = AgentFunctionApp(agents=[travel_rules, phone_book], enable_mcp_tool_trigger=True)
