"""Sessions that live on the engine's loop, offered to another one: the web server's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from perdure.hosts.local import bridge
from perdure.payloads import refs
from perdure.routes import sessions


class BridgedSessions(bridge.Bridge):
    """Sessions of another loop. Its methods are for the loop that awaits them; several loops may.

    Args:
        inner: The sessions, touched on ``loop`` only.
        loop: The engine's loop.
    """

    def __init__(self, inner: sessions.Sessions, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._inner = inner

    # What changes something is not abandoned when the client leaves: it may be half done.

    async def send(
        self, agent: str, session_id: str, correlation_id: str, request: refs.Ref, blobs: Sequence[refs.Blob] = ()
    ) -> None:
        """Give a session a turn."""
        await self._call(lambda: self._inner.send(agent, session_id, correlation_id, request, blobs), cancels=False)

    def ask(
        self,
        agent: str,
        session_id: str,
        correlation_id: str,
        request: refs.Ref,
        blobs: Sequence[refs.Blob],
        seconds: float | None,
    ) -> AsyncGenerator[sessions.Said]:
        """Give a session a turn, and hear the answer as it comes."""
        return self._stream(lambda: self._inner.ask(agent, session_id, correlation_id, request, blobs, seconds))

    async def wait(
        self, agent: str, session_id: str, correlation_id: str, seconds: float | None
    ) -> sessions.Turn | None:
        """Give a turn as soon as it has ended."""
        return await self._call(lambda: self._inner.wait(agent, session_id, correlation_id, seconds))

    async def get(self, agent: str, session_id: str) -> sessions.Session | None:
        """Give a session."""
        return await self._call(lambda: self._inner.get(agent, session_id))

    async def read(self, agent: str, session_id: str, cursor: str | None, limit: int) -> sessions.Conversation | None:
        """Give turns of a session."""
        return await self._call(lambda: self._inner.read(agent, session_id, cursor, limit))

    async def query(self, agent: str, prefix: str, cursor: str | None, limit: int) -> sessions.Page:
        """List an agent's sessions."""
        return await self._call(lambda: self._inner.query(agent, prefix, cursor, limit))

    async def reset(self, agent: str, session_id: str) -> bool:
        """Have a session forget its conversation."""
        return await self._call(lambda: self._inner.reset(agent, session_id), cancels=False)

    async def delete(self, agent: str, session_id: str) -> bool:
        """Delete a session."""
        return await self._call(lambda: self._inner.delete(agent, session_id), cancels=False)
