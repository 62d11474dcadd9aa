"""Answers by rule, for trying the sample without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import Message


def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
    """Draft the same words each time, with the feedback taken up word for word."""
    _, again, feedback = messages[-1].text.partition("Draft it again.")
    if again:
        return f"Thank you for your mail. ({feedback.strip()})"
    return "Thank you for your mail. We will look into it."
