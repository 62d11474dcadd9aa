"""Agents inside workflows: the app's callback is told of what they say, as it is of agents hosted on their own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from agent_framework import AgentExecutor, AgentResponse, AgentResponseUpdate, Executor, normalize_messages

from perdure.agents import callbacks, invocation


class Overheard:
    """Lets a callback hear the agents of a workflow's executors.

    Args:
        callback: Who is told.
    """

    def __init__(self, callback: callbacks.AgentResponseCallbackProtocol) -> None:
        self._callback = callback

    @contextlib.contextmanager
    def __call__(self, executor: Executor, run: str, step: str) -> Iterator[None]:
        """Listen to a run's copy of an executor during one step; to what is no agent's executor nobody listens."""
        if not isinstance(executor, AgentExecutor):
            yield
            return
        attributes = vars(executor.agent)
        before = attributes.get("run")
        attributes["run"] = self._telling(executor.agent, run, step)
        try:
            yield
        finally:
            del attributes["run"]
            if before is not None:
                attributes["run"] = before

    def _telling(self, agent: Any, run: str, step: str) -> Any:
        speak = agent.run
        name = getattr(agent, "name", None) or type(agent).__name__

        @functools.wraps(speak)
        def telling(messages: Any = None, *, stream: bool = False, **given: Any) -> Any:
            asked = normalize_messages(messages)
            said = asked[-1].text if asked else ""
            context = callbacks.AgentCallbackContext(name, f"{run}/{step}", run, said)
            if not stream:
                return self._whole(speak, messages, given, context)
            begun = speak(messages, stream=True, **given)
            if hasattr(begun, "with_transform_hook"):
                begun.with_transform_hook(functools.partial(self._piece, context=context))
                begun.with_result_hook(functools.partial(self._all, context=context))
            return begun

        return telling

    async def _whole(
        self, speak: Any, messages: Any, given: dict[str, Any], context: callbacks.AgentCallbackContext
    ) -> Any:
        if invocation.takes(speak, "stream"):
            response = await invocation.streamed(speak(messages, stream=True, **given), self._callback, context, [])
        else:
            response = await speak(messages, **given)
        await self._all(response, context)
        return response

    async def _piece(self, update: AgentResponseUpdate, context: callbacks.AgentCallbackContext) -> None:
        await invocation.tell(self._callback.on_streaming_response_update, update, context)

    async def _all(self, response: AgentResponse[Any], context: callbacks.AgentCallbackContext) -> None:
        await invocation.tell(self._callback.on_agent_response, response, context)
