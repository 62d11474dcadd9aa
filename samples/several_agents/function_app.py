"""The desks of a company, each an agent with tools and an address of its own. ``perdure start`` serves them."""

from __future__ import annotations

import datetime
import uuid
from typing import Annotated

from agent_framework import Agent, tool

import models
from perdure import AgentFunctionApp

SERVICES = {"mail": "up", "vpn": "down since 8:40; the provider is at work on it", "wiki": "up"}
DAYS_OFF_LEFT = {"ann": 11, "bob": 3}
HOLIDAYS = {2026: ["1 January", "3 April", "1 May", "25 December"], 2027: ["1 January", "26 March", "1 May"]}


@tool(approval_mode="never_require")
def service_status(service: Annotated[str, f"one of {', '.join(SERVICES)}"]) -> str:
    """Say whether a service is up."""
    return f"{service} is {SERVICES.get(service.lower(), 'unknown here')}."


@tool(approval_mode="never_require")
def open_ticket(summary: Annotated[str, "what is wrong, in a sentence"]) -> str:
    """Open a ticket for what a person has to mend."""
    return f"Ticket {uuid.uuid4().hex[:6]} is open: {summary}"


@tool(approval_mode="never_require")
def days_off_left(employee: Annotated[str, "the first name"]) -> str:
    """Say how many days off an employee has left this year."""
    days = DAYS_OFF_LEFT.get(employee.lower())
    return f"{employee} is not on the list." if days is None else f"{employee} has {days} days off left."


@tool(approval_mode="never_require")
def public_holidays(year: int) -> str:
    """List the public holidays of a year."""
    return ", ".join(HOLIDAYS.get(year, ["They are not fixed yet."]))


client = models.chat_client()
it_desk = Agent(
    client=client,
    name="it_desk",
    description="Knows which services are up, and opens tickets.",
    instructions="You are the IT desk. Look up before you answer. Open a ticket when something has to be mended.",
    tools=[service_status, open_ticket],
)
people_desk = Agent(
    client=client,
    name="people_desk",
    description="Knows about days off and holidays.",
    instructions="You are the people desk. Ask for the first name if you need it. Never guess a number of days.",
    tools=[days_off_left, public_holidays],
)

app = AgentFunctionApp(agents=[it_desk])
# What people say about their time off is not kept longer than a day.
app.add_agent(people_desk, session_ttl=datetime.timedelta(days=1))
