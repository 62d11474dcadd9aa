"""Sessions of agents on the embedded engine: what the routes stand on when the host is this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from agent_framework import AgentResponse

from perdure import errors
from perdure.agents import hosted, live, log, naming, records
from perdure.engine import engine
from perdure.engine import records as instances
from perdure.hosts import shown
from perdure.payloads import refs
from perdure.routes import sessions, turns
from perdure.workflow import deltas

SWEEP_PAGE: Final = 100

logger = logging.getLogger("perdure")


class EngineSessions:
    """The sessions of an app's agents.

    Args:
        durable: The engine they are on.
        bounds: The agents by the name they are hosted under.
    """

    def __init__(self, durable: engine.Engine, bounds: Mapping[str, hosted.Bound]) -> None:
        self._engine = durable
        self._bounds = bounds
        self._orchestrations = frozenset(bound.orchestrator.name for bound in bounds.values())
        self._waiters: dict[str, dict[str, list[asyncio.Future[records.Told]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def sweep(self) -> None:
        """Delete what is left of sessions that ended in an earlier life of the host."""
        if not self._orchestrations:
            return
        cursor: str | None = None
        while True:
            found, cursor = self._engine.query(
                names=tuple(self._orchestrations), statuses=("Completed",), cursor=cursor, limit=SWEEP_PAGE
            )
            for view in found:
                await self._engine.purge(view.id)
            if cursor is None:
                return

    def heard(self, instance_id: str, name: str, emitted: Sequence[bytes], view: instances.InstanceView | None) -> bool:
        """Take note of a commit; False if it is no session's."""
        if name not in self._orchestrations:
            return False
        waiting = self._waiters.get(instance_id, {})
        # What the engine adds when an instance is terminated from outside is no session's.
        for data in () if view is not None and view.status == "Terminated" else emitted:
            told = records.decode_told(data)
            for future in waiting.pop(told.correlation_id, ()):
                if not future.done():
                    future.set_result(told)
        if view is not None:
            for futures in self._waiters.pop(instance_id, {}).values():
                for future in futures:
                    if not future.done():
                        future.set_exception(sessions.gone(naming.session_key(instance_id)))
            if view.status == "Completed":
                task = asyncio.get_running_loop().create_task(self._purge(instance_id))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return True

    async def send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob] = ()
    ) -> None:
        """Give a session a turn, unless it has had one of this correlation id."""
        await self._send(agent, session_id, correlation_id, request, blobs, stream=False)

    async def _send(
        self,
        agent: str,
        session_id: str,
        correlation_id: str,
        request: refs.Ref,
        blobs: Sequence[refs.Blob],
        *,
        stream: bool,
    ) -> None:
        bound = self._bounds[agent]
        instance_id = bound.instance(session_id)
        data = records.encode(bound.hosted.turn(correlation_id, request, stream=stream))
        while True:
            view = self._engine.view(instance_id)
            if view is not None and view.status == "Completed":
                # It has expired or was deleted, and nobody has cleared it away yet: the next turn begins anew.
                await self._engine.purge(instance_id)
                view = None
            if view is None:
                view, new = await self._engine.begin(bound.orchestrator.name, instance_id, data, blobs=blobs)
                if new:
                    return
            if view.ended and view.status != "Completed":
                raise shown.broken(session_id, view)
            # The request's payloads before the request: whoever sees one finds the other.
            await self._engine.payloads.put(instance_id, blobs)
            missing = _Unanswered(self._engine, instance_id, correlation_id)
            if await self._engine.raise_event(instance_id, records.TURN, data, guard=missing) or missing.found:
                return

    async def ask(
        self,
        agent: str,
        session_id: str,
        correlation_id: str,
        request: refs.Ref,
        blobs: Sequence[refs.Blob],
        seconds: float | None,
    ) -> AsyncGenerator[sessions.Said]:
        """Give a session a turn, and hear the answer as it comes."""
        bound = self._bounds[agent]
        # Listening before the turn is sent: it may begin to speak as soon as it is accepted.
        with bound.turns.deltas.listen((bound.instance(session_id), correlation_id)) as listener:
            # Who leaves stops the listening, never the sending: that may be half done.
            sending = self._send(agent, session_id, correlation_id, request, blobs, stream=True)
            await asyncio.shield(asyncio.ensure_future(sending))
            yield sessions.Accepted()
            ended = self._ended(agent, session_id, correlation_id, seconds)
            said = deltas.among(ended, listener, lambda turn: 1)
            async with contextlib.aclosing(said):
                async for item in said:
                    if isinstance(item, live.Delta):
                        yield sessions.Delta(item.attempt, bound.hosted.codec.shown(item.data))
                    else:
                        yield item

    async def _ended(
        self, agent: str, session_id: str, correlation_id: str, seconds: float | None
    ) -> AsyncGenerator[sessions.Turn]:
        turn = await self.wait(agent, session_id, correlation_id, seconds)
        if turn is not None:
            yield turn

    async def wait(
        self, agent: str, session_id: str, correlation_id: str, seconds: float | None
    ) -> sessions.Turn | None:
        """Give a turn as soon as it has ended; None if it has not when the time is over."""
        bound = self._bounds[agent]
        instance_id = bound.instance(session_id)
        future: asyncio.Future[records.Told] = asyncio.get_running_loop().create_future()
        futures = self._waiters.setdefault(instance_id, {}).setdefault(correlation_id, [])
        futures.append(future)
        try:
            entry = receipt(self._engine, instance_id, correlation_id)
            if entry is not None:
                return turns.of(bound, instance_id, entry)
            view = self._engine.view(instance_id)
            if view is None or view.ended:
                raise sessions.gone(naming.session_key(instance_id))
            told = await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        finally:
            self._forget(instance_id, correlation_id, future)
        if told.entry is not None:
            return turns.of(bound, instance_id, told.entry)
        return sessions.Turn(0, correlation_id, "error", "", 0.0, 0.0, told.failure)

    def response(self, agent: str, session_id: str, correlation_id: str) -> AgentResponse[Any]:
        """Give what the agent answered in a turn that ended well.

        Raises:
            SessionGone: If the session was deleted meanwhile.
        """
        bound = self._bounds[agent]
        instance_id = bound.instance(session_id)
        ref = receipt(self._engine, instance_id, correlation_id)
        found = None if ref is None else log.answer(bound.values_of(instance_id), bound.entry(instance_id, ref))
        if found is None:
            raise sessions.gone(naming.session_key(instance_id))
        return found

    async def get(self, agent: str, session_id: str) -> sessions.Session | None:
        """Give a session, or None for an unknown id."""
        view = self._engine.view(self._bounds[agent].instance(session_id))
        return None if view is None or view.ended else shown.session(agent, view, _status(view))

    async def read(self, agent: str, session_id: str, cursor: str | None, limit: int) -> sessions.Conversation | None:
        """Give the newest turns of a session, or those before a cursor."""
        bound = self._bounds[agent]
        view = self._engine.view(bound.instance(session_id))
        if view is None or view.ended:
            return None
        found, following = turns.read(bound, view.id, _status(view).head, cursor, limit)
        return sessions.Conversation(shown.session(agent, view, _status(view)), found, following)

    async def query(self, agent: str, prefix: str, cursor: str | None, limit: int) -> sessions.Page:
        """List an agent's sessions, newest first."""
        bound = self._bounds[agent]
        views, following = self._engine.query(
            names=(bound.orchestrator.name,),
            statuses=("Running",),
            prefix=bound.instance(prefix),
            cursor=cursor,
            limit=limit,
        )
        return sessions.Page([shown.session(agent, view, _status(view)) for view in views], following)

    async def reset(self, agent: str, session_id: str) -> bool:
        """Have a session forget its conversation, after the turns that it was sent."""
        turn = records.Turn(f"{records.RESET}-{uuid.uuid4().hex}", reset=True)
        instance_id = self._bounds[agent].instance(session_id)
        return await self._engine.raise_event(instance_id, records.RESET, records.encode(turn))

    async def delete(self, agent: str, session_id: str) -> bool:
        """Delete a session with all that it kept, and the turns in it."""
        instance_id = self._bounds[agent].instance(session_id)
        sent = await self._engine.raise_event(instance_id, records.DELETE, b"")
        view = self._engine.view(instance_id)
        if view is not None and view.ended:
            sent = await self._engine.purge(instance_id) or sent
        return sent

    def _forget(self, instance_id: str, correlation_id: str, future: asyncio.Future[records.Told]) -> None:
        waiting = self._waiters.get(instance_id, {})
        futures = waiting.get(correlation_id, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            waiting.pop(correlation_id, None)
        if not waiting:
            self._waiters.pop(instance_id, None)

    async def _purge(self, instance_id: str) -> None:
        try:
            await self._engine.purge(instance_id)
        except errors.HubError as error:
            # The next start of the host, or the session's next turn, clears it away.
            logger.warning("Session %r has ended and could not be cleared away: %s", instance_id, error)


class _Unanswered:
    """Lets a turn through unless it has been answered: its receipt may have come since the sender last looked."""

    def __init__(self, durable: engine.Engine, instance_id: str, correlation_id: str) -> None:
        self._where = durable, instance_id, correlation_id
        self.found = False

    def __call__(self, custom_status: bytes | None) -> bool:
        self.found = receipt(*self._where) is not None
        return not self.found


def receipt(durable: engine.Engine, instance_id: str, correlation_id: str) -> refs.Ref | None:
    """Give the entry of the turn with this correlation id; None if it has not been answered."""
    try:
        body = durable.payloads.read(instance_id, records.receipt(instance_id, correlation_id))
    except errors.PayloadMissing:
        return None
    return records.decode_ref(body)


def _status(view: instances.InstanceView) -> records.Status:
    return records.Status() if view.custom_status is None else records.decode_status(view.custom_status)
