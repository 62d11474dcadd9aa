"""Agents as the entities that orchestrations call: each message is a turn of a durable session."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from perdure import errors
from perdure.agents import calls, hosted, naming
from perdure.hosts.local import sessions
from perdure.hosts.local.functions import steps
from perdure.routes import views

log = logging.getLogger("perdure.functions")


class Refused(errors.PerdureError):
    """An agent failed, or was sent what it cannot take; its message is what the orchestration is told."""


class Agents:
    """The agents of an app, as entities; touched on the engine's loop only.

    Args:
        bounds: The agents by the names they are hosted under.
        held: Their sessions.
    """

    def __init__(self, bounds: Mapping[str, hosted.Bound], held: sessions.EngineSessions) -> None:
        self._bounds = {naming.entity(name).casefold(): bound for name, bound in bounds.items()}
        self._sessions = held

    def __contains__(self, entity: str) -> bool:
        """Whether an entity, by its name in any case, is an agent."""
        return entity.casefold() in self._bounds

    async def take(self, entity: str, key: str, message: steps.Step) -> str:
        """Carry out an operation, and give the answer as the SDK reads it.

        A message that comes again after a crash is the same turn: it has the same correlation id.

        Raises:
            Refused: If the agent fails or cannot do it.
            HubError: If it could not be made durable: it was not accepted.
        """
        try:
            return await self._take(self._bounds[entity.casefold()], key, message)
        except Refused as refused:
            if message.kind == "signal":
                # Nobody else is told of it.
                log.error("Agent %r took no message for session %r: %s", entity, key, refused)
            raise

    async def _take(self, bound: hosted.Bound, key: str, message: steps.Step) -> str:
        try:
            naming.legal_session_key(key)
        except ValueError as error:
            raise Refused(str(error)) from error
        if message.operation == calls.RESET:
            await self._sessions.reset(bound.hosted.name, key)
            return _answer({"status": "reset"})
        if message.operation not in calls.OPERATIONS:
            raise Refused(f"An agent has no operation {message.operation!r}; it has 'run' and 'reset'.")
        return await self._run(bound.hosted, key, message)

    async def _run(self, agent: hosted.HostedAgent, key: str, message: steps.Step) -> str:
        try:
            call = calls.read(_input(message), message.request, agent.codec.resolve)
            ref, blobs = agent.accept(call.request)
        except (errors.EmptyInput, errors.InvalidInput, errors.CodecError) as error:
            raise Refused(str(error)) from error
        await self._sessions.send(agent.name, key, call.correlation_id, ref, blobs)
        if message.kind == "signal":
            return _answer(None)
        turn = await self._sessions.wait(agent.name, key, call.correlation_id, math.inf)
        assert turn is not None
        if turn.failure is not None:
            raise Refused(views.error(turn.failure) or "")
        return _answer(calls.answer(self._sessions.response(agent.name, key, call.correlation_id)))


def _input(message: steps.Step) -> Any:
    """Give a message's input: JSON, in JSON text if it came from the SDK."""
    found = None if message.input is None else json.loads(message.input)
    if not isinstance(found, str):
        return found
    try:
        return json.loads(found)
    except ValueError:
        return found


def _answer(value: Any) -> str:
    return json.dumps({"result": json.dumps(value)})
