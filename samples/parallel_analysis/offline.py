"""Answers by rule, for trying the sample without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import Message

SIGNS = {
    "expensive": r"liab|penalt|terminat",
    "must be done": r"\b(shall|must)\b",
    "vague": r"reasonable|to be agreed|from time to time",
}
"""What is looked for, by a word of the question."""


def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
    """Give the sentences that have such a sign."""
    asked = str(options.get("instructions"))
    pattern = next(sign for word, sign in SIGNS.items() if word in asked)
    sentences = re.split(r"(?<=\.)\s+", messages[-1].text)
    return json.dumps({"points": [found for found in sentences if re.search(pattern, found, re.IGNORECASE)]})
