"""The framework's runner context for one activity: what the executor sends, yields, asks and says is written down."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn

from agent_framework import AgentExecutorResponse, AgentResponse, AgentResponseUpdate, WorkflowEvent, WorkflowMessage

REQUEST_NAMESPACE: Final = uuid.UUID("5d0f6a57-8f0b-5b7e-a3c1-4b8f7f0d2c66")

_SPOKEN: Final = frozenset({"output", "intermediate"})
_OWN: Final = frozenset({"executor_invoked", "executor_completed", "executor_failed"})


class Recorder:
    """Stands where the framework's runner would.

    Args:
        classify: Says of an executor id whether its outputs are outputs, intermediate or hidden.
        step: Name of the step in all of the hub; the ids of requests are made of it.
        metadata: What an executor may learn of its host.
        tools: The tools that the run was given.
        say: Told of each update of an agent's answer as it comes, in streaming mode; None where that is off.
    """

    def __init__(
        self,
        classify: Callable[[str], Any],
        step: str,
        metadata: dict[str, Any],
        tools: list[Any] | None = None,
        say: Callable[[WorkflowEvent[Any]], None] | None = None,
    ) -> None:
        self._classify = classify
        self._step = step
        self._tools = tools
        self._say = say
        self._answer: WorkflowEvent[Any] | None = None
        self._updates: list[AgentResponseUpdate] = []
        self._made = 0
        self.host_metadata = metadata
        self.sent: list[WorkflowMessage] = []
        self.events: list[WorkflowEvent[Any]] = []
        self.requests: list[WorkflowEvent[Any]] = []
        self.withdrawn: list[str] = []

    async def send_message(self, message: WorkflowMessage) -> None:
        """Write down a message."""
        whole = message.data.agent_response if isinstance(message.data, AgentExecutorResponse) else None
        self._close(whole)
        self.sent.append(message)

    async def add_event(self, event: WorkflowEvent[Any]) -> None:
        """Write down an event, unless it is one that the fold itself records."""
        if event.type in _OWN:
            return
        if self._say is not None and event.type in _SPOKEN and isinstance(event.data, AgentResponseUpdate):
            self._say(event)
            self._update(event, event.data)
            return
        self._close()
        self.events.append(event)

    def _update(self, event: WorkflowEvent[Any], update: AgentResponseUpdate) -> None:
        """Take in a part of an answer: what is recorded is the whole answer, once."""
        answer = self._answer
        if answer is None or (answer.type, answer.executor_id) != (event.type, event.executor_id):
            self._close()
            self._answer = event
            self.events.append(event)
        self._updates.append(update)

    def _close(self, whole: AgentResponse[Any] | None = None) -> None:
        if self._answer is not None:
            self._answer.data = AgentResponse.from_updates(self._updates) if whole is None else whole
            self._answer = None
            self._updates = []

    def close(self) -> None:
        """Say that nothing more comes."""
        self._close()

    def next_request_id(self) -> str:
        """Make the id of a request: run again, the step makes the same ones, so that a mailed one stays alive."""
        self._made += 1
        return str(uuid.uuid5(REQUEST_NAMESPACE, f"{self._step}/{self._made}"))

    async def get_pending_request_info_events(self) -> dict[str, WorkflowEvent[Any]]:
        """Give the requests that this step made, the newest last."""
        return {event.request_id: event for event in self.requests}

    async def add_request_info_event(self, event: WorkflowEvent[Any]) -> None:
        """Write down a request to the world outside."""
        self._close()
        self.requests.append(event)
        self.events.append(event)

    def add_step_event(self, event: WorkflowEvent[Any]) -> None:
        """Write down what befell a step inside the executor, without its values: those have records of their own."""
        told = copy.copy(event)
        told.data = None
        self.events.append(told)

    def withdraw(self, request_id: str) -> None:
        """Write down that a request needs no answer any more."""
        self.withdrawn.append(request_id)

    def warn(self, said: str) -> None:
        """Write down a warning."""
        self.events.append(WorkflowEvent.warning(said))

    def classify_yielded_output(self, executor_id: str) -> Any:
        """Say what an executor's outputs are."""
        return self._classify(executor_id)

    def set_yield_output_classifier(self, classifier: Callable[[str], Any]) -> None:
        """Take another rule for outputs."""
        self._classify = classifier

    def is_streaming(self) -> bool:
        """Say whether agents run in streaming mode."""
        return self._say is not None

    def get_runtime_tools(self) -> list[Any] | None:
        """Give the tools that the run was given."""
        return self._tools

    def has_checkpointing(self) -> bool:
        """The host keeps the run; the framework's checkpoint storage is not used."""
        return False

    async def has_messages(self) -> bool:
        """Say whether something was sent."""
        return bool(self.sent)

    async def has_events(self) -> bool:
        """Say whether something was recorded."""
        return bool(self.events)

    async def drain_messages(self) -> dict[str, list[WorkflowMessage]]:
        """Messages are routed when the activity ends, not by the executor."""
        _refuse("drain_messages")

    async def drain_events(self) -> list[WorkflowEvent[Any]]:
        """Events are committed when the activity ends, not drained by the executor."""
        _refuse("drain_events")


def _refuse(name: str) -> NoReturn:
    raise RuntimeError(f"{name}() belongs to the framework's in-process runner; a hosted executor has no use for it.")
