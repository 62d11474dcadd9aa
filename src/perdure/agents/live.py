"""A turn's answer while it is being given: for whoever listens right now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from agent_framework import AgentResponse, AgentResponseUpdate

from perdure.agents import callbacks


class Delta(msgspec.Struct, frozen=True):
    """A part of an agent's answer, at the moment at which it comes.

    Attributes:
        attempt: In which attempt of the turn, from 1; each says its answer from the beginning.
        data: The part, as the framework gives it.
    """

    attempt: int
    data: AgentResponseUpdate


class Live:
    """A callback that says the parts of an answer aloud, and passes all on to the app's own callback.

    Args:
        say: Says a part to whoever listens.
        attempt: The attempt of the turn.
        callback: The app's own.
    """

    def __init__(
        self,
        say: Callable[[Callable[[], Delta]], None],
        attempt: int,
        callback: callbacks.AgentResponseCallbackProtocol | None,
    ) -> None:
        self._say = say
        self._attempt = attempt
        self._callback = callback

    def on_streaming_response_update(
        self, update: AgentResponseUpdate, context: callbacks.AgentCallbackContext
    ) -> Awaitable[None] | None:
        """Say a part."""
        self._say(lambda: Delta(self._attempt, update))
        return None if self._callback is None else self._callback.on_streaming_response_update(update, context)

    def on_agent_response(
        self, response: AgentResponse, context: callbacks.AgentCallbackContext
    ) -> Awaitable[None] | None:
        """Pass on the whole: those who listen get what is recorded of it."""
        return None if self._callback is None else self._callback.on_agent_response(response, context)
