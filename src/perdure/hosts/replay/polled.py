"""Sessions of agents where nobody tells who waits: what has come of a turn is looked for again and again."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from perdure.agents import hosted, records
from perdure.payloads import records as beside
from perdure.payloads import refs, store
from perdure.routes import sessions, turns
from perdure.workflow import protocol

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
SETTLE_POLL_SECONDS: Final = 0.01
SETTLE_SECONDS: Final = 5.0
"""How long an answer that is there waits until the session shows it too."""

DELETE_PATIENCE_SECONDS: Final = 10.0
"""How long a deletion waits until it has been carried out; it will be, all the same."""

End: TypeAlias = refs.Ref | protocol.Failure
"""What came of a turn: its entry, or why it left none."""


class Found(NamedTuple):
    """A session as it stands.

    Attributes:
        instance_id: Whose payloads its conversation is.
        head: The newest entry of the conversation.
        session: How it is shown.
    """

    instance_id: str
    head: refs.Ref | None
    session: sessions.Session


class PolledSessions(abc.ABC):
    """The sessions of an app's agents; what a session is made of, a host says.

    Args:
        payloads: Where conversations are.
        kept: Where the records beside sessions are.
        bounds: The agents by the name they are hosted under.
    """

    def __init__(
        self, payloads: store.PayloadStore, kept: beside.RecordStore, bounds: Mapping[str, hosted.Bound]
    ) -> None:
        self._payloads = payloads
        self._records = kept
        self._bounds = bounds

    async def send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob] = ()
    ) -> None:
        """Give a session a turn, unless it has had one of this correlation id."""
        await self._send(agent, session_id, correlation_id, request, blobs)

    async def ask(
        self,
        agent: str,
        session_id: str,
        correlation_id: str,
        request: refs.Ref,
        blobs: Sequence[refs.Blob],
        seconds: float | None,
    ) -> AsyncGenerator[sessions.Said]:
        """Give a session a turn, and give what came of it.

        What an agent says while it is at work is not told from process to process: each message is one part.
        """
        bound = self._bounds[agent]
        instance_id = await self._send(agent, session_id, correlation_id, request, blobs)
        yield sessions.Accepted()
        end = await self._wait(bound, instance_id, correlation_id, seconds)
        if isinstance(end, refs.Ref):
            for part in await asyncio.to_thread(turns.parts, bound, instance_id, end):
                yield part
        if end is not None:
            yield await _turn(bound, instance_id, correlation_id, end)

    async def wait(
        self, agent: str, session_id: str, correlation_id: str, seconds: float | None
    ) -> sessions.Turn | None:
        """Give a turn as soon as it is seen to have ended; None if it has not when the time is over."""
        bound = self._bounds[agent]
        instance_id = await self._current(bound.instance(session_id))
        end = await self._wait(bound, instance_id, correlation_id, seconds)
        return None if end is None else await _turn(bound, instance_id, correlation_id, end)

    async def get(self, agent: str, session_id: str) -> sessions.Session | None:
        """Give a session, or None for an unknown id."""
        found = await self._find(agent, session_id)
        return None if found is None else found.session

    async def read(self, agent: str, session_id: str, cursor: str | None, limit: int) -> sessions.Conversation | None:
        """Give the newest turns of a session, or those before a cursor."""
        found = await self._find(agent, session_id)
        if found is None:
            return None
        page, following = await asyncio.to_thread(
            turns.read, self._bounds[agent], found.instance_id, found.head, cursor, limit
        )
        return sessions.Conversation(found.session, page, following)

    async def _wait(
        self, bound: hosted.Bound, instance_id: str, correlation_id: str, seconds: float | None
    ) -> End | None:
        over = math.inf if seconds is None else time.monotonic() + seconds
        delay = FIRST_POLL_SECONDS
        async with contextlib.aclosing(self._looks(bound, instance_id, correlation_id)) as looks:
            async for end in looks:
                if isinstance(end, refs.Ref):
                    await self._settle(bound, instance_id, end)
                left = over - time.monotonic()
                if end is not None or left <= 0:
                    return end
                await asyncio.sleep(min(delay, left))
                delay = min(delay * 2, LONGEST_POLL_SECONDS)
        raise AssertionError("it is looked for without end")

    async def _settle(self, bound: hosted.Bound, instance_id: str, end: refs.Ref) -> None:
        """Wait until a session shows a turn whose answer is there: who reads it after the answer then finds it."""
        entry = await asyncio.to_thread(bound.entry, instance_id, end)
        over = time.monotonic() + SETTLE_SECONDS
        delay = SETTLE_POLL_SECONDS
        while not await self._shows(bound, instance_id, entry) and time.monotonic() < over:
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_POLL_SECONDS)

    @abc.abstractmethod
    async def _send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob]
    ) -> str:
        """Give a session a turn; gives whose payloads it is among."""

    @abc.abstractmethod
    async def _current(self, session: str) -> str:
        """Give whose payloads the turns of a session are among that are sent now."""

    @abc.abstractmethod
    def _looks(self, bound: hosted.Bound, instance_id: str, correlation_id: str) -> AsyncGenerator[End | None]:
        """Look what has come of a turn each time that it is asked for; None while nothing has.

        Raises:
            SessionGone: If the session was deleted with the turn in it.
        """

    @abc.abstractmethod
    async def _shows(self, bound: hosted.Bound, instance_id: str, entry: records.Entry) -> bool:
        """Say whether a session shows an ended turn, or never will: answers are recorded before the engine hears."""

    @abc.abstractmethod
    async def _find(self, agent: str, session_id: str) -> Found | None:
        """Give a session as it stands; None for an unknown id."""


async def _turn(bound: hosted.Bound, instance_id: str, correlation_id: str, end: End) -> sessions.Turn:
    if isinstance(end, refs.Ref):
        return await asyncio.to_thread(turns.of, bound, instance_id, end)
    return sessions.Turn(0, correlation_id, "error", "", 0.0, 0.0, end)
