"""Answers by rule, for trying the sample without a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import Message


def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
    """Write an advert, or give the first two sentences of what was written before."""
    facts = re.search(r"The facts: (.*)", messages[-1].text, re.DOTALL)
    if facts is not None:
        return f"Join us! {facts[1]} We are a friendly team. We look forward to your letter."
    written = next(message.text for message in reversed(messages) if message.role == "assistant")
    return " ".join(re.split(r"(?<=[.!])\s+", written)[:2])
