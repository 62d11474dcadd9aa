"""A durable agent as a hand-written orchestration sees it: sessions, and turns that are tasks to wait for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from agent_framework import AgentResponse, AgentSession, Message

from perdure.agents import calls, naming

TaskT_co = TypeVar("TaskT_co", covariant=True)


class Orchestration(Protocol[TaskT_co]):
    """What an agent needs of the orchestration that runs it. All of it is the same on every replay."""

    @property
    def instance_id(self) -> str:
        """The orchestration's instance id."""
        ...

    def new_id(self) -> str:
        """Make up an id."""
        ...

    def call(self, entity: str, key: str, payload: Mapping[str, Any], response_format: Any) -> TaskT_co:
        """Call an agent's entity; gives a task whose result is the agent's response."""
        ...

    def signal(self, entity: str, key: str, payload: Mapping[str, Any], accepted: AgentResponse[Any]) -> TaskT_co:
        """Send a message to an agent's entity; gives a task that has its result already."""
        ...


class AgentSessionId(msgspec.Struct, frozen=True):
    """Names a session of a durable agent.

    Attributes:
        name: The name that the agent is hosted under.
        key: The session's id, as in the HTTP API.
    """

    name: str
    key: str

    @property
    def entity_name(self) -> str:
        """Name of the agent's entity."""
        return naming.entity(self.name)

    def __str__(self) -> str:
        return f"@{self.name}@{self.key}"

    @staticmethod
    def to_entity_name(name: str) -> str:
        """Give the name of an agent's entity."""
        return naming.entity(name)

    @classmethod
    def with_random_key(cls, name: str) -> AgentSessionId:
        """Name a new session; not in an orchestrator, where ids are made by ``create_session``."""
        return cls(name, uuid.uuid4().hex)

    @classmethod
    def parse(cls, text: str, agent_name: str | None = None) -> AgentSessionId:
        """Read ``@name@key``, or a plain key of an agent that is named.

        Raises:
            ValueError: If it is neither.
        """
        if text.startswith("@") and "@" in text[1:]:
            name, _, key = text[1:].partition("@")
            return cls(agent_name or name, key)
        if agent_name is None:
            raise ValueError(f"{text!r} is no session of an agent: it must be @name@key.")
        return cls(agent_name, text)


class DurableAgentSession(AgentSession):
    """A session of a durable agent. The conversation is kept by the agent's host; this only names it.

    Args:
        durable_session_id: What it names.
        session_id: The session's id; the key of ``durable_session_id`` if not given.
        service_session_id: As in the framework; not used.
    """

    _KEPT_AS: Final = "durable_session_id"

    def __init__(
        self,
        *,
        durable_session_id: AgentSessionId | None = None,
        session_id: str | None = None,
        service_session_id: str | None = None,
    ) -> None:
        named = durable_session_id.key if durable_session_id is not None else None
        super().__init__(session_id=session_id or named, service_session_id=service_session_id)
        self.durable_session_id = durable_session_id

    @classmethod
    def from_session_id(
        cls,
        durable_session_id: AgentSessionId,
        *,
        session_id: str | None = None,
        service_session_id: str | None = None,
    ) -> DurableAgentSession:
        """Give the session of a name."""
        return cls(durable_session_id=durable_session_id, session_id=session_id, service_session_id=service_session_id)

    def to_dict(self) -> dict[str, Any]:
        """Give the session as plain JSON: to continue as new with, or to hand to another orchestration."""
        written = super().to_dict()
        if self.durable_session_id is not None:
            written[self._KEPT_AS] = str(self.durable_session_id)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DurableAgentSession:
        """Give a session back.

        Raises:
            ValueError: If what it names cannot be read.
        """
        named = data.get(cls._KEPT_AS)
        plain = AgentSession.from_dict({name: value for name, value in data.items() if name != cls._KEPT_AS})
        service = plain.service_session_id
        found = cls(
            durable_session_id=None if named is None else AgentSessionId.parse(named),
            session_id=plain.session_id,
            service_session_id=service if isinstance(service, str) else None,
        )
        found.state.update(plain.state)
        return found


class DurableAIAgent(Generic[TaskT_co]):
    """A durable agent inside an orchestration.

    Its turns run on its host, one at a time in each session; the orchestration waits for them as for any other task
    and sees, on every replay, what was recorded.

    Attributes:
        name: The name that it is hosted under.
        id: The same.
        description: What it is for.
    """

    def __init__(self, orchestration: Orchestration[TaskT_co], name: str, description: str | None = None) -> None:
        self._orchestration = orchestration
        self.name = self.id = self.display_name = name
        self.description = description

    def create_session(self, *, session_id: str | None = None) -> DurableAgentSession:
        """Give a new session, or the one of an id, which may have a conversation already.

        Raises:
            ValueError: If the id cannot be used.
        """
        key = self._orchestration.new_id() if session_id is None else naming.legal_session_key(session_id)
        return DurableAgentSession(durable_session_id=AgentSessionId(self.name, key))

    def get_session(self, service_session_id: str, *, session_id: str | None = None) -> DurableAgentSession:
        """Give the session of an id, as the HTTP API knows it.

        Raises:
            ValueError: If the id cannot be used.
        """
        named = AgentSessionId.parse(service_session_id, self.name)
        return DurableAgentSession(
            durable_session_id=AgentSessionId(self.name, naming.legal_session_key(named.key)), session_id=session_id
        )

    def run(
        self,
        messages: calls.Messages = None,
        *,
        stream: bool = False,
        session: AgentSession | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> TaskT_co:
        """Run the agent for one turn.

        Args:
            messages: What it is told.
            stream: Must be False: an orchestration sees whole answers only.
            session: The session; a new one for this turn alone if it is not given, or is no durable one.
            options: ``response_format`` (a pydantic model or a JSON schema), ``enable_tool_calls``,
                ``wait_for_response``; further ones go to the agent.

        Returns:
            A task to yield. Its result is an ``AgentResponse``; the task fails with
            :class:`~perdure.errors.AgentFailed` if the agent fails. With ``wait_for_response: False`` it is done at
            once, and its result says that the request is accepted.

        Raises:
            ValueError: If it cannot be run so.
        """
        if stream:
            raise ValueError("A durable agent does not stream to an orchestration: leave stream=True out.")
        asked = calls.options_of(options)
        correlation_id = self._orchestration.new_id()
        payload = calls.write(messages, asked, correlation_id, self._orchestration.instance_id)
        target = self._target(session)
        if asked.wait:
            return self._orchestration.call(target.entity_name, target.key, payload, asked.response_format)
        return self._orchestration.signal(target.entity_name, target.key, payload, _accepted(correlation_id))

    def _target(self, session: AgentSession | None) -> AgentSessionId:
        named = session.durable_session_id if isinstance(session, DurableAgentSession) else None
        if named is None:
            return AgentSessionId(self.name, self._orchestration.new_id())
        if named.entity_name.casefold() != naming.entity(self.name).casefold():
            raise ValueError(
                f"The session {named} belongs to another agent than {self.name!r}: "
                "make one with create_session() of the agent that is run."
            )
        return named


def _accepted(correlation_id: str) -> AgentResponse[Any]:
    text = f"Request accepted (correlation_id: {correlation_id}). The agent works on it; nobody waits for its answer."
    return AgentResponse(messages=[Message("system", [text])])
