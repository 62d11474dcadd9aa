"""Sessions of agents that are orchestrations of an engine elsewhere: what the routes stand on there."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final

from perdure import errors
from perdure.agents import hosted, naming, records
from perdure.hosts import shown
from perdure.hosts.replay import client, lifetimes, listing, log, polled, wire
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.routes import sessions

LOOKS_BEFORE_OVER: Final = 5
"""How often a turn is looked for before it is asked whether its session was ended by somebody who no worker hears."""

SKEW_SECONDS: Final = 5.0
"""How far the clocks of two processes may be apart."""


class ReplaySessions(polled.PolledSessions):
    """The sessions of an app's agents.

    Args:
        engine: The engine's client.
        payloads: Where conversations are.
        kept: Where the records beside sessions are.
        bounds: The agents by the name they are hosted under.
    """

    def __init__(
        self,
        engine: client.Client,
        payloads: store.PayloadStore,
        kept: beside.RecordStore,
        bounds: Mapping[str, hosted.Bound],
    ) -> None:
        super().__init__(payloads, kept, bounds)
        self._engine = engine
        self._log = log.Log(kept)
        self._lifetimes = lifetimes.Lifetimes(payloads, kept)

    async def _send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob]
    ) -> str:
        bound = self._bounds[agent]
        session = bound.instance(session_id)
        turn = bound.hosted.turn(correlation_id, request)
        heard = wire.Heard(records.TURN, records.encode(turn))
        delay = polled.FIRST_POLL_SECONDS
        while True:
            life = await self._lifetimes.current(session)
            state = await self._engine.get(life)
            if state is not None and state.ended and state.status != "Completed":
                raise shown.broken(session_id, state)
            if state is not None and state.ended:
                await self._lifetimes.clear(life, self._engine)
                continue
            if state is not None and _expired(state, SKEW_SECONDS):
                # No worker is there to end it; the first that comes will. This turn begins a session anew.
                await self._lifetimes.end(life)
                continue
            if await self._receipt(life, correlation_id) is not None:
                return life
            # The request's payloads before the request: whoever sees one finds the other.
            await self._payloads.put(life, blobs)
            if state is None:
                start = wire.pack(wire.Start(b"", heard=(heard,)))
                if not await self._engine.start(bound.orchestrator.name, life, start):
                    continue
                if not await self._lifetimes.over(life):
                    await self._end_before(life)
                    return life
                # It was over before it began here: what was started is nobody's.
                await self._tell(life, records.DELETE)
                continue
            await self._tell(life, records.TURN, heard.data)
            if _will_hear(await self._engine.get(life)):
                return life
            # It may expire just now, deaf to what was sent: until it says what came first, the turn is not accepted.
            await asyncio.sleep(delay)
            delay = min(delay * 2, polled.LONGEST_POLL_SECONDS)

    async def _current(self, session: str) -> str:
        return await self._lifetimes.current(session)

    async def _looks(
        self, bound: hosted.Bound, instance_id: str, correlation_id: str
    ) -> AsyncGenerator[polled.End | None]:
        looks = 0
        reader: log.Reader | None = None
        while True:
            # In this order: a session that was there afterwards had not been deleted when the receipt was looked for.
            ref = await self._receipt(instance_id, correlation_id)
            state = await self._engine.get(instance_id)
            if state is None or state.ended:
                raise _gone(instance_id)
            if ref is not None:
                yield ref
                return
            reader = reader or self._log.reader(instance_id, _shown_from(state))
            for event in await reader.read(log.AT_ONCE, *state.tail):
                told = records.decode_told(event.data)
                if told.correlation_id == correlation_id and told.failure is not None:
                    yield told.failure
                    return
            looks += 1
            if looks > LOOKS_BEFORE_OVER and await self._lifetimes.over(instance_id):
                raise _gone(instance_id)
            yield None

    async def _shows(self, bound: hosted.Bound, instance_id: str, entry: records.Entry) -> bool:
        state = await self._engine.get(instance_id)
        if state is None or state.ended:
            return True
        status = _status(state)
        # After a reset it has fewer entries.
        return status.entries >= entry.number or not status.pending

    async def _find(self, agent: str, session_id: str) -> polled.Found | None:
        state = await self._living(agent, session_id)
        if state is None:
            return None
        status = _status(state)
        return polled.Found(state.id, status.head, shown.session(agent, state, status))

    async def query(self, agent: str, prefix: str, cursor: str | None, limit: int) -> sessions.Page:
        """List an agent's sessions, newest first."""
        bound = self._bounds[agent]
        first = bound.instance(prefix)

        def fits(state: client.State) -> bool:
            return (
                state.name == bound.orchestrator.name
                and (life := naming.life_of(state.id)) is not None
                and life[0].startswith(first)
                and not state.ended
                and not _expired(state)
            )

        page, following = await listing.newest(self._engine, fits, lifetimes.PREFIX, cursor, limit)
        return sessions.Page([shown.session(agent, state, _status(state)) for state in page], following)

    async def reset(self, agent: str, session_id: str) -> bool:
        """Have a session forget its conversation, after the turns that it was sent."""
        state = await self._living(agent, session_id)
        if state is None:
            return False
        turn = records.Turn(f"{records.RESET}-{uuid.uuid4().hex}", reset=True)
        await self._tell(state.id, records.RESET, records.encode(turn))
        return True

    async def delete(self, agent: str, session_id: str) -> bool:
        """Delete a session with all that it kept, and the turns in it."""
        life = await self._lifetimes.current(self._bounds[agent].instance(session_id))
        state = await self._engine.get(life)
        if state is not None:
            # From here on it is unknown to all, whether a worker is there to end it or not.
            await self._lifetimes.end(life)
            await self._clear(life)
        # A deletion that was cut off has left a life that nobody knows.
        before = lifetimes.before(life)
        while before is not None and await self._engine.get(before) is not None:
            await self._clear(before)
            before = lifetimes.before(before)
        return state is not None and state.status != "Completed" and not _expired(state)

    async def _end_before(self, life: str) -> None:
        """Have the life before one end, if its deletion was cut off; a worker that ends it deletes what it leaves."""
        before = lifetimes.before(life)
        state = None if before is None else await self._engine.get(before)
        if state is not None and state.ended:
            await self._lifetimes.clear(state.id, self._engine)
        elif state is not None:
            await self._tell(state.id, records.DELETE)

    async def _clear(self, life: str) -> None:
        """End a life that is over, and delete what it leaves; where no worker is there, the first that comes will."""
        await self._tell(life, records.DELETE)
        ended = await self._engine.wait(life, polled.DELETE_PATIENCE_SECONDS)
        if ended is not None and ended.ended:
            await self._lifetimes.clear(life, self._engine)

    async def _living(self, agent: str, session_id: str) -> client.State | None:
        state = await self._engine.get(await self._lifetimes.current(self._bounds[agent].instance(session_id)))
        return None if state is None or state.ended or _expired(state) else state

    async def _tell(self, life: str, name: str, data: bytes = b"") -> None:
        await self._engine.raise_event(life, wire.EVENT, wire.pack(wire.Heard(name, data)))

    async def _receipt(self, life: str, correlation_id: str) -> refs.Ref | None:
        try:
            body = await asyncio.to_thread(self._payloads.read, life, records.receipt(life, correlation_id))
        except errors.PayloadMissing:
            return None
        return records.decode_ref(body)


def _status(state: client.State) -> records.Status:
    said = state.said
    if said is None or said.value is None:
        # It was started with a turn, and has not been at work yet.
        return records.Status(pending=1)
    return records.decode_status(said.value)


def _expired(state: client.State, ago: float = 0.0) -> bool:
    return 0 < _status(state).expires <= time.time() - ago


def _will_hear(state: client.State | None) -> bool:
    """Say whether what was sent before is heard: a session that ends by itself does so at a time that it has said."""
    if state is None or state.ended:
        return False
    expires = _status(state).expires
    return not expires or expires > time.time() + SKEW_SECONDS


def _shown_from(state: client.State) -> int:
    """Give the id before the first event that the status shows, or is to show."""
    pages, following = state.tail
    return pages[0].first - 1 if pages else max(following - 1, 0)


def _gone(life: str) -> sessions.SessionGone:
    return sessions.gone(naming.session_key(life))
