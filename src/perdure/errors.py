"""The errors a user of perdure can meet: what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self


class PerdureError(Exception):
    """Base of every error that perdure raises on purpose.

    Args:
        message: What was wrong and where.
        remedy: What to do about it; shown after the message.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        # What somebody else's library said, at the end of a message, has no full stop.
        stop = "" if not remedy or message.endswith((".", "?", "!", ":")) else "."
        super().__init__(f"{message}{stop} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class UsageError(PerdureError):
    """The user asked for something that cannot be had; shown without a traceback, exit code 2."""


class HubError(PerdureError):
    """The task hub cannot be opened or written: in use, of a newer schema, disk full."""


class PayloadMissing(PerdureError):
    """A payload that a run refers to is not in the store."""


class CodecError(PerdureError, TypeError):
    """A value cannot be encoded or decoded."""


class EmptyInput(PerdureError):
    """A run was asked for without an input."""


class InvalidInput(PerdureError):
    """A value does not fit the type that is asked for.

    Args:
        problems: JSON pointers into the value, each with what is wrong there.
        message: The whole in a sentence; made from ``problems`` if not given.
    """

    def __init__(self, problems: Sequence[tuple[str, str]], message: str = "") -> None:
        told = "; ".join(f"{pointer or '(the whole body)'}: {what}" for pointer, what in problems[:5])
        super().__init__(message or f"The body does not fit what is asked for: {told}.")
        self.errors = tuple(problems)

    @classmethod
    def at(cls, pointer: str, what: str) -> Self:
        """Say that one place does not fit."""
        return cls([(pointer, what)])


class MalformedInput(InvalidInput):
    """A body is not what its content type says."""


class AgentFailed(PerdureError):
    """An agent that an orchestration ran has failed.

    Attributes:
        agent: The name that it is hosted under.
        reason: What it raised, as ``type: message``.
    """

    def __init__(self, agent: str, reason: str) -> None:
        super().__init__(f"Agent {agent!r} failed: {reason}")
        self.agent = agent
        self.reason = reason
