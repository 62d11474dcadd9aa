"""Agents' turns as tasks of the Functions SDK: the module of the agents that touches what is not public in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
from agent_framework import AgentResponse
from azure.durable_functions.models import Task as tasks  # type: ignore[import-untyped]
from azure.durable_functions.models.actions import NoOpAction  # type: ignore[import-untyped]

from perdure import errors
from perdure.agents import calls


class AgentTask(tasks.CompoundTask):  # type: ignore[misc]  # its base has no types
    """A turn of an agent as a task to yield, alone or in ``task_all`` and ``task_any``.

    To the SDK it is the call of the agent's entity, with the same action and number; only its result is read.
    """

    def __init__(self, task: Any, agent: str, response_format: Any) -> None:
        # Before the base's constructor, which looks whether the call has ended.
        self._agent = agent
        self._response_format = response_format
        super().__init__([task])
        self.action_repr = task.action_repr

    def try_set_value(self, child: Any) -> None:
        """Take the call's result."""
        if child.state is not tasks.TaskState.SUCCEEDED:
            self.set_value(is_error=True, value=errors.AgentFailed(self._agent, str(child.result)))
            return
        try:
            found = calls.response(child.result, self._response_format)
        except ValueError as error:
            self.set_value(is_error=True, value=errors.AgentFailed(self._agent, f"{type(error).__name__}: {error}"))
            return
        self.set_value(is_error=False, value=found)


class FunctionsOrchestration:
    """An orchestration of the Functions SDK.

    Args:
        context: Its context.
        agent: The name of the agent that it runs.
    """

    def __init__(self, context: df.DurableOrchestrationContext, agent: str) -> None:
        self._context = context
        self._agent = agent

    @property
    def instance_id(self) -> str:
        """The orchestration's instance id."""
        return str(self._context.instance_id)

    def new_id(self) -> str:
        """Make up an id, the same on every replay."""
        return str(self._context.new_uuid())

    def call(self, entity: str, key: str, payload: Mapping[str, Any], response_format: Any) -> AgentTask:
        """Call an agent's entity."""
        task = self._context.call_entity(df.EntityId(entity, key), calls.RUN, payload)
        return AgentTask(task, self._agent, response_format)

    def signal(self, entity: str, key: str, payload: Mapping[str, Any], accepted: AgentResponse[Any]) -> Any:
        """Send a message to an agent's entity."""
        self._context.signal_entity(df.EntityId(entity, key), calls.RUN, payload)
        done = tasks.AtomicTask(-1, NoOpAction.NoOpAction())
        # What counts as scheduled is not handed to the extension, which has nothing to do for it.
        done._set_is_scheduled(True)  # pyright: ignore[reportPrivateUsage]
        done.set_value(is_error=False, value=accepted)
        return done
