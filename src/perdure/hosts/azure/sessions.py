"""Sessions of agents that are durable entities: what the routes stand on, on Azure."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

from opentelemetry import propagate

from perdure import errors
from perdure.agents import calls, hosted, naming, records
from perdure.hosts.azure import agents, entities
from perdure.hosts.replay import wire as texts
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.routes import sessions, turns

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
DELETE_PATIENCE_SECONDS: Final = 10.0
"""How long a deletion waits until the entity has done it; it will, all the same."""


class EntitySessions:
    """The sessions of an app's agents.

    Args:
        engine: The entities.
        payloads: Where conversations lie.
        kept: Where the records beside sessions lie.
        bounds: The agents by the name they are hosted under.
    """

    def __init__(
        self,
        engine: entities.Entities,
        payloads: store.PayloadStore,
        kept: beside.RecordStore,
        bounds: Mapping[str, hosted.Bound],
    ) -> None:
        self._engine = engine
        self._payloads = payloads
        self._records = kept
        self._bounds = bounds

    async def send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob] = ()
    ) -> None:
        """Give a session a turn, unless it has had one of this correlation id."""
        bound = self._bounds[agent]
        instance_id = bound.instance(session_id)
        if await self._records.get(instance_id, agents.ended(correlation_id)) is not None:
            return
        left = agents.decode(await self._engine.read(*self._entity(agent, session_id)))
        if left is not None and _over(left):
            # It has expired: the turn begins a session anew.
            await self._delete(agent, session_id)
        # The request's payloads before the request: whoever sees one finds the other.
        await self._payloads.put(instance_id, blobs)
        await self._records.put_if_absent(instance_id, agents.sent(correlation_id), texts.encode(time.time()))
        trace: dict[str, str] = {}
        propagate.inject(trace)
        turn = records.Turn(correlation_id, request, bound.hosted.session_ttl, trace=trace, rule=bound.hosted.rule)
        await self._engine.signal(*self._entity(agent, session_id), agents.TURN, {"turn": texts.pack(turn)})

    async def ask(
        self,
        agent: str,
        session_id: str,
        correlation_id: str,
        request: refs.Ref,
        blobs: Sequence[refs.Blob],
        seconds: float | None,
    ) -> AsyncGenerator[sessions.Said]:
        """Give a session a turn, and give what came of it: parts of an answer are not told from process to process."""
        await self.send(agent, session_id, correlation_id, request, blobs)
        yield sessions.Accepted()
        turn = await self.wait(agent, session_id, correlation_id, seconds)
        if turn is not None:
            yield turn

    async def wait(
        self, agent: str, session_id: str, correlation_id: str, seconds: float | None
    ) -> sessions.Turn | None:
        """Give a turn as soon as it is seen to have ended; None if it has not when the time is over."""
        bound = self._bounds[agent]
        instance_id = bound.instance(session_id)
        over = math.inf if seconds is None else time.monotonic() + seconds
        delay = FIRST_POLL_SECONDS
        while True:
            body = await self._records.get(instance_id, agents.ended(correlation_id))
            if body is not None:
                outcome = texts.decode(body, agents.Outcome)
                if outcome.head is None:
                    return sessions.Turn(0, correlation_id, "error", "", 0.0, 0.0, outcome.failure)
                return await asyncio.to_thread(turns.of, bound, instance_id, outcome.head)
            if await self._records.get(instance_id, agents.sent(correlation_id)) is None:
                raise sessions.SessionGone(
                    f"The session {session_id!r} was deleted, and the turn with it.", "Send it again."
                )
            left = over - time.monotonic()
            if left <= 0:
                return None
            await asyncio.sleep(min(delay, left))
            delay = min(delay * 2, LONGEST_POLL_SECONDS)

    async def get(self, agent: str, session_id: str) -> sessions.Session | None:
        """Give a session, or None for an unknown id."""
        kept = await self._kept(agent, session_id)
        if kept is None:
            return None
        instance_id = self._bounds[agent].instance(session_id)
        sent, ended = await asyncio.gather(
            self._records.names(instance_id, agents.SENT), self._records.names(instance_id, agents.ENDED)
        )
        over = {name.removeprefix(agents.ENDED) for name in ended}
        pending = sum(name.removeprefix(agents.SENT) not in over for name in sent)
        return _session(agent, session_id, kept, pending)

    async def read(self, agent: str, session_id: str, cursor: str | None, limit: int) -> sessions.Conversation | None:
        """Give the newest turns of a session, or those before a cursor."""
        bound = self._bounds[agent]
        kept = await self._kept(agent, session_id)
        if kept is None:
            return None
        instance_id = bound.instance(session_id)
        found, following = await asyncio.to_thread(turns.read, bound, instance_id, kept.session.head, cursor, limit)
        return sessions.Conversation(_session(agent, session_id, kept), found, following)

    async def query(self, agent: str, prefix: str, cursor: str | None, limit: int) -> sessions.Page:
        """List an agent's sessions, newest first."""
        found: list[sessions.Session] = []
        for key, state in await self._engine.list(naming.entity(agent).lower()):
            kept = agents.decode(state)
            if kept is not None and key.startswith(prefix) and not _over(kept):
                found.append(_session(agent, key, kept))
        found.sort(key=lambda session: (session.created, session.id), reverse=True)
        start = 0
        if cursor is not None:
            ids = [session.id for session in found]
            if cursor not in ids:
                raise errors.UsageError(f"The cursor {cursor!r} is none of this list.")
            start = ids.index(cursor) + 1
        page = found[start : start + limit]
        return sessions.Page(page, page[-1].id if start + limit < len(found) else None)

    async def reset(self, agent: str, session_id: str) -> bool:
        """Have a session forget its conversation, after the turns that it was sent."""
        if await self._kept(agent, session_id) is None:
            return False
        await self._engine.signal(*self._entity(agent, session_id), calls.RESET, {})
        return True

    async def delete(self, agent: str, session_id: str) -> bool:
        """Delete a session with all that it kept, and the turns in it."""
        if await self._kept(agent, session_id) is None:
            return False
        await self._delete(agent, session_id)
        return True

    async def _delete(self, agent: str, session_id: str) -> None:
        # Here and not by the entity, which may be at work, or have another turn to come for a session of this id.
        instance_id = self._bounds[agent].instance(session_id)
        await self._records.forget(instance_id)
        await self._payloads.purge(instance_id)
        entity = self._entity(agent, session_id)
        await self._engine.signal(*entity, agents.DELETE, {})
        over = time.monotonic() + DELETE_PATIENCE_SECONDS
        delay = FIRST_POLL_SECONDS
        while await self._engine.read(*entity) is not None and time.monotonic() < over:
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_POLL_SECONDS)

    async def _kept(self, agent: str, session_id: str) -> agents.Kept | None:
        kept = agents.decode(await self._engine.read(*self._entity(agent, session_id)))
        if kept is not None:
            return None if _over(kept) else kept
        # An entity has a state only after its first operation.
        instance_id = self._bounds[agent].instance(session_id)
        names = await self._records.names(instance_id, agents.SENT)
        body = await self._records.get(instance_id, names[0]) if names else None
        if body is None:
            return None
        sent = texts.decode(body, float)
        return agents.Kept(sent, records.State(touched=sent))

    def _entity(self, agent: str, session_id: str) -> tuple[str, str]:
        return naming.entity(agent), session_id


def _over(kept: agents.Kept) -> bool:
    return 0 < agents.expires(kept.session) <= time.time()


def _session(agent: str, session_id: str, kept: agents.Kept, pending: int = 0) -> sessions.Session:
    session = kept.session
    due = 0.0 if pending else agents.expires(session)
    return sessions.Session(session_id, agent, kept.created, session.touched, session.entries, pending, due)
