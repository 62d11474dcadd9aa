"""Sessions of agents that are durable entities: what the routes stand on, on Azure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final

from perdure import errors
from perdure.agents import calls, hosted, naming, records
from perdure.hosts.azure import agents, entities
from perdure.hosts.replay import polled
from perdure.hosts.replay import wire as texts
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.routes import sessions

EXPIRED: Final = "@expired"
"""Before a session's id: whose records say who deletes what it left when it expired. No session can have such an id."""

SWEPT_AT_ONCE: Final = 16


class EntitySessions(polled.PolledSessions):
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
        super().__init__(payloads, kept, bounds)
        self._engine = engine

    async def _send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob]
    ) -> str:
        bound = self._bounds[agent]
        instance_id = bound.instance(session_id)
        left = agents.decode(await self._engine.read(*self._entity(agent, session_id)))
        if left is not None and _over(left):
            await self._begin_anew(agent, session_id, left)
        if await self._records.get(instance_id, agents.ended(correlation_id)) is not None:
            return instance_id
        # The request's payloads before the request: whoever sees one finds the other.
        await self._payloads.put(instance_id, blobs)
        await self._records.put_if_absent(instance_id, agents.sent(correlation_id), texts.encode(time.time()))
        turn = bound.hosted.turn(correlation_id, request)
        await self._engine.signal(*self._entity(agent, session_id), agents.TURN, {"turn": texts.pack(turn)})
        return instance_id

    async def _current(self, session: str) -> str:
        return session

    async def _looks(
        self, bound: hosted.Bound, instance_id: str, correlation_id: str
    ) -> AsyncGenerator[polled.End | None]:
        while True:
            body = await self._records.get(instance_id, agents.ended(correlation_id))
            if body is not None:
                outcome = texts.decode(body, agents.Outcome)
                yield outcome.failure if outcome.head is None else outcome.head
                return
            if await self._records.get(instance_id, agents.sent(correlation_id)) is None:
                raise sessions.gone(naming.session_key(instance_id))
            yield None

    async def _shows(self, bound: hosted.Bound, instance_id: str, entry: records.Entry) -> bool:
        kept = agents.decode(await self._engine.read(*self._entity(bound.hosted.name, naming.session_key(instance_id))))
        return kept is not None and kept.session.touched >= entry.ended

    async def _find(self, agent: str, session_id: str) -> polled.Found | None:
        kept = await self._kept(agent, session_id)
        if kept is None:
            return None
        instance_id = self._bounds[agent].instance(session_id)
        sent, ended = await asyncio.gather(
            self._records.names(instance_id, agents.SENT), self._records.names(instance_id, agents.ENDED)
        )
        over = {name.removeprefix(agents.ENDED) for name in ended}
        pending = sum(name.removeprefix(agents.SENT) not in over for name in sent)
        return polled.Found(instance_id, kept.session.head, _session(agent, session_id, kept, pending))

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

    async def sweep(self) -> None:
        """Delete what expired sessions have left for which no turn has come."""
        at_once = asyncio.Semaphore(SWEPT_AT_ONCE)

        async def clear(agent: str, session_id: str, left: agents.Kept) -> None:
            async with at_once:
                await self._begin_anew(agent, session_id, left)

        for agent in self._bounds:
            found = [
                (key, agents.decode(state)) for key, state in await self._engine.list(naming.entity(agent).lower())
            ]
            await asyncio.gather(*(clear(agent, key, left) for key, left in found if left is not None and _over(left)))

    async def _begin_anew(self, agent: str, session_id: str, left: agents.Kept) -> None:
        """Delete what an expired session has left.

        Of several who come to it one does, and the others wait: what they send then would be among what is deleted.
        """
        lock = EXPIRED + self._bounds[agent].instance(session_id)
        if await self._records.put_if_absent(lock, repr(left.session.touched), b""):
            await self._delete(agent, session_id)
        elif not await self._until(agent, session_id, lambda kept: kept is None or not _over(kept)):
            # Whoever was to do it is gone.
            await self._delete(agent, session_id)

    async def _delete(self, agent: str, session_id: str) -> None:
        # Here and not by the entity, which may be at work, or have another turn to come for a session of this id.
        instance_id = self._bounds[agent].instance(session_id)
        await self._records.forget(instance_id)
        await self._payloads.purge(instance_id)
        await self._engine.signal(*self._entity(agent, session_id), agents.DELETE, {})
        await self._until(agent, session_id, lambda kept: kept is None)

    async def _until(self, agent: str, session_id: str, so: Callable[[agents.Kept | None], bool]) -> bool:
        """Wait until an entity is as wanted; says whether it came to be so in time."""
        over = time.monotonic() + polled.DELETE_PATIENCE_SECONDS
        delay = polled.FIRST_POLL_SECONDS
        while not so(agents.decode(await self._engine.read(*self._entity(agent, session_id)))):
            if time.monotonic() >= over:
                return False
            await asyncio.sleep(delay)
            delay = min(delay * 2, polled.LONGEST_POLL_SECONDS)
        return True

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
