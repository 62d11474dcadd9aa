"""A workflow as an agent: what it keeps from turn to turn lies in the session, its open requests too.

In process a workflow as an agent is one object that serves one caller. Here each turn has a copy, which begins where
the one before left off: the workflow's checkpoint, and what its executors keep in attributes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from agent_framework import (
    AgentResponse,
    AgentResponseUpdate,
    AgentSession,
    Content,
    FunctionalWorkflowAgent,
    HistoryProvider,
    InMemoryCheckpointStorage,
    InMemoryHistoryProvider,
    Message,
    ResponseStream,
    WorkflowAgent,
    WorkflowCheckpoint,
    WorkflowEvent,
)

from perdure import errors
from perdure.workflow import answers, executor_state, functional_graph, graph, values

KEPT: Final = "perdure.workflow"
"""Where a session's state has what the workflow keeps."""

_CHECKPOINT: Final = "checkpoint"
_ATTRIBUTES: Final = "attributes"
_ANSWERS: Final = "answers"
_RESULT: Final = "function_result"
_APPROVAL: Final = "function_approval_response"

Hosted = WorkflowAgent | FunctionalWorkflowAgent


class Unanswered(errors.PerdureError):
    """A session that waits for answers was told something else."""


def value_types(agent: Hosted) -> Iterator[Any]:
    """Give the types that the workflow's values may have."""
    if isinstance(agent, FunctionalWorkflowAgent):
        yield from functional_graph.value_types(functional_graph.workflow_of(agent))
        return
    for executor in graph.places(agent.workflow).values():
        yield from (*executor.input_types, *executor.output_types, *executor.workflow_output_types)
        for pair in graph.response_types(executor):
            yield from pair


class Sessioned:
    """The copy of a workflow agent that has one turn of a session.

    Args:
        agent: The copy.
        template: The agent as it was built.
        run: The session's values.
    """

    def __init__(self, agent: Hosted, template: Hosted, run: values.RunValues) -> None:
        # A function's workflow is no part of the copy.
        self._agent = functional_graph.another_agent(agent) if isinstance(agent, FunctionalWorkflowAgent) else agent
        self._template = template
        self._run = run

    def create_session(self, *, session_id: str) -> AgentSession:
        """Make a session of this agent."""
        return self._agent.create_session(session_id=session_id)

    def run(self, messages: Sequence[Message], *, session: AgentSession, stream: bool = False) -> Any:
        """Have the turn: the messages are the workflow's input or, where it waits for answers, those.

        Raises:
            Unanswered: If it waits for answers, and a message holds something else.
            InvalidInput: If an answer does not fit what was asked for.
        """
        if stream:
            return ResponseStream(self._stream(messages, session), finalizer=AgentResponse.from_updates)
        return self._whole(messages, session)

    async def _whole(self, messages: Sequence[Message], session: AgentSession) -> AgentResponse[Any]:
        turn = _Turn(self._agent, self._template, self._run, session)
        response: AgentResponse[Any] = await self._agent.run(**await turn.arguments(messages))
        await turn.keep()
        return response

    async def _stream(self, messages: Sequence[Message], session: AgentSession) -> AsyncIterator[AgentResponseUpdate]:
        turn = _Turn(self._agent, self._template, self._run, session)
        async for update in self._agent.run(**await turn.arguments(messages), stream=True):
            yield update
        await turn.keep()


class _Turn:
    """What a turn begins with, and what it leaves."""

    def __init__(self, agent: Hosted, template: Hosted, run: values.RunValues, session: AgentSession) -> None:
        self._agent = agent
        self._template = template
        self._run = run
        self._session = session
        self._storage = InMemoryCheckpointStorage()
        self._answers: dict[str, Any] = {}

    async def arguments(self, messages: Sequence[Message]) -> dict[str, Any]:
        """Restore the workflow, and give what the agent is to be run with."""
        kept: Mapping[str, Any] = self._session.state.get(KEPT, {})
        checkpoint: WorkflowCheckpoint | None = kept.get(_CHECKPOINT)
        given: dict[str, Any] = {"checkpoint_storage": self._storage}
        if checkpoint is None:
            asked: Mapping[str, WorkflowEvent[Any]] = {}
        else:
            asked = checkpoint.pending_request_info_events
            given["checkpoint_id"] = await self._storage.save(checkpoint)
        found = read(messages, asked)
        if isinstance(self._agent, FunctionalWorkflowAgent):
            if not asked:
                return {"messages": list(messages), "checkpoint_storage": self._storage}
            self._answers = {**kept.get(_ANSWERS, {}), **found}
            return {"messages": None, "responses": self._answers, **given}
        self._put(kept.get(_ATTRIBUTES, {}))
        if asked:
            _silence(self._agent)
            messages = [Message("user", [_answer(name, value) for name, value in found.items()])]
        return {"messages": list(messages), "session": self._session, **given}

    async def keep(self) -> None:
        """Leave in the session what the next turn begins with."""
        left = await self._storage.get_latest(workflow_name=_name(self._agent))
        kept: dict[str, Any] = {}
        if isinstance(self._agent, FunctionalWorkflowAgent):
            # A function that has returned keeps nothing.
            if left is not None and left.pending_request_info_events:
                kept = {_CHECKPOINT: left, _ANSWERS: self._answers}
        elif left is not None:
            kept = {_CHECKPOINT: left, _ATTRIBUTES: self._changed()}
        if kept:
            self._session.state[KEPT] = kept
        else:
            self._session.state.pop(KEPT, None)

    def _put(self, carried: Mapping[str, Any]) -> None:
        assert isinstance(self._agent, WorkflowAgent)
        for place, executor in graph.places(self._agent.workflow).items():
            if place in carried:
                executor_state.put(executor, carried[place])

    def _changed(self) -> dict[str, Any]:
        assert isinstance(self._agent, WorkflowAgent) and isinstance(self._template, WorkflowAgent)
        built = graph.places(self._template.workflow)
        found = {
            place: executor_state.changed(executor, built[place], self._run)
            for place, executor in graph.places(self._agent.workflow).items()
            if not graph.is_custom_state(executor)
        }
        return {place: changes for place, changes in found.items() if changes is not None}


def read(messages: Sequence[Message], asked: Mapping[str, WorkflowEvent[Any]]) -> dict[str, Any]:
    """Read the answers to requests that are open; nothing where none is.

    Raises:
        Unanswered: If there are none, or something else.
        InvalidInput: If one does not fit what was asked for.
    """
    found: dict[str, Any] = {}
    if not asked:
        return found
    for place, content in enumerate(content for message in messages for content in message.contents):
        name = content.id if content.type == _APPROVAL else content.call_id if content.type == _RESULT else None
        request = _request(asked, name)
        if request is None:
            names = ", ".join(map(repr, asked))
            raise Unanswered(
                f"The session waits for answers to {names}; part {place} of the message is a {content.type}"
                + (f" for {name!r}." if name else "."),
                'Answer with parts {"type": "function_result", "call_id": "...", "result": ...}, an approval with '
                '{"type": "function_approval_response", "id": "...", "approved": true}.',
            )
        found[request.request_id] = _value(request, content, place)
    return found


def _request(asked: Mapping[str, WorkflowEvent[Any]], name: str | None) -> WorkflowEvent[Any] | None:
    """Find a request by its id, or by that of what it asks: an approval, or a call of a tool."""
    if name is None or name in asked:
        return None if name is None else asked[name]
    shown = [event for event in asked.values() if isinstance(event.data, Content)]
    return next((event for event in shown if name in (event.data.id, event.data.call_id)), None)


def _value(request: WorkflowEvent[Any], content: Content, place: int) -> Any:
    value = content.approved if content.type == _APPROVAL else content.result
    try:
        return answers.taken(request.response_type, request.data, value)
    except errors.InvalidInput as error:
        raise errors.InvalidInput([(f"/message/{place}/result{at}", what) for at, what in error.errors]) from None


def _answer(name: str, value: Any) -> Content:
    """Make an answer as the framework reads it."""
    if isinstance(value, Content):
        return value
    made = Content.from_function_result(name, result="")
    # As it is: made with it, it would be text.
    made.result = value
    return made


def _silence(agent: WorkflowAgent) -> None:
    """Let histories hear of a turn without telling of those before.

    Where answers are due the framework takes a history's messages for wrong ones.
    """
    histories = [item for item in agent.context_providers if isinstance(item, HistoryProvider) and item.load_messages]
    if not histories:
        histories = [InMemoryHistoryProvider()]
        agent.context_providers.extend(histories)
    for history in histories:
        vars(history)["get_messages"] = _nothing


async def _nothing(*arguments: Any, **named: Any) -> list[Message]:
    return []


def _name(agent: Hosted) -> str:
    if isinstance(agent, FunctionalWorkflowAgent):
        return functional_graph.workflow_of(agent).name
    return agent.workflow.name
