"""Answers by rule, for trying the sample without a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import Content, Message

from perdure.testing import tool_call

CALLS = {
    "meals_per_day": r"\b(?P<country>France|Italy|Poland|Norway)\b",
    "who_looks_after": r"\b(?P<matter>invoices|payroll|printers)\b",
}
"""What asks for which tool, with its arguments as groups."""


def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str | Content:
    """Call the agent's tool if the question has what it needs, and tell what it gave."""
    last = messages[-1]
    if last.role == "tool":
        return str(last.contents[0].result)
    (tool,) = options["tools"]
    asked = re.search(CALLS[tool.name], last.text, re.IGNORECASE)
    if asked is not None:
        return tool_call(tool.name, asked.groupdict())
    earlier = sum(message.role == "user" for message in messages) - 1
    return f"What is it about? (You asked {earlier} times before.)"
