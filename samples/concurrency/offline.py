"""Answers by rule, for trying the sample without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import Message

OBJECTIONS = {
    "security": {
        r"\bpublic\b": "What is public is found.",
        r"\bpassword": "A password in a file will leak.",
    },
    "cost": {
        r"\b(\d+) servers\b": "So many servers stand idle at night.",
        r"\blicen[cs]e": "The licence is paid each year.",
    },
}


def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
    """Object to what the reviewer that is asked would object to."""
    asked = str(options.get("instructions"))
    signs = next(signs for reviewer, signs in OBJECTIONS.items() if f"for {reviewer}" in asked)
    found = [told for sign, told in signs.items() if re.search(sign, messages[-1].text, re.IGNORECASE)]
    return json.dumps({"objections": found})
