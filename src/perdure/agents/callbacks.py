"""Callbacks: how user code is told what an agent says, as it says it."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from agent_framework import AgentResponse, AgentResponseUpdate


@dataclass(frozen=True)
class AgentCallbackContext:
    """Of which turn a callback is told.

    Attributes:
        agent_name: The name that the agent is hosted under.
        correlation_id: Names the turn.
        session_id: The session, as clients name it.
        request_message: What the agent was asked, as text.
    """

    agent_name: str
    correlation_id: str
    session_id: str | None = None
    request_message: str | None = None

    @property
    def thread_id(self) -> str | None:
        """The old name of :attr:`session_id`."""
        warnings.warn("thread_id is deprecated; use session_id.", DeprecationWarning, stacklevel=2)
        return self.session_id


class AgentResponseCallbackProtocol(Protocol):
    """What is told of an agent's answers. Its methods may be plain or async; what they raise is logged, no more.

    A turn that a crash interrupted is run, and told, again.
    """

    def on_streaming_response_update(
        self, update: AgentResponseUpdate, context: AgentCallbackContext
    ) -> Awaitable[None] | None:
        """Take a piece of an answer."""
        ...

    def on_agent_response(self, response: AgentResponse, context: AgentCallbackContext) -> Awaitable[None] | None:
        """Take a whole answer."""
        ...
