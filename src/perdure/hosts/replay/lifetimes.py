"""The lives of a session where the engine is elsewhere: each is an orchestration of its own, under an id used once.

So what a life left can be deleted at any time by anybody, and a turn for the session never meets it.
"""

from __future__ import annotations

from typing import Final

from perdure.agents import naming
from perdure.hosts.replay import client
from perdure.payloads import records, store

LIFE: Final = "life/"
PREFIX: Final = "session."


class Lifetimes:
    """Which life of a session is the one that goes on.

    Args:
        payloads: Where the conversations of lives are.
        kept: Where records are.
    """

    def __init__(self, payloads: store.PayloadStore, kept: records.RecordStore) -> None:
        self._payloads = payloads
        self._records = kept

    async def current(self, session: str) -> str:
        """Give the life that the next turn of a session is for, whether it has begun or not."""
        names = await self._records.names(session, LIFE)
        return naming.life(session, int(names[-1][len(LIFE) :]) if names else 1)

    async def end(self, life: str) -> None:
        """Have the next turn of a session begin another life; durable when this returns."""
        session, number = _parts(life)
        await self._records.put_if_absent(session, f"{LIFE}{number + 1:012d}", b"")

    async def over(self, life: str) -> bool:
        """Say whether a life is no longer the one that goes on."""
        return await self.current(_parts(life)[0]) != life

    async def delete(self, life: str) -> None:
        """Delete what a life that is over has left."""
        await self._payloads.purge(life)
        await self._records.forget(life)

    async def clear(self, life: str, engine: client.Client) -> None:
        """Delete a life whose orchestration has ended, and that with it; once more is no error."""
        # In this order: where it is broken off, the next to see the orchestration does it again.
        await self.end(life)
        await self.delete(life)
        await engine.purge(life)


def before(life: str) -> str | None:
    """Give the life before one; None for the first."""
    session, number = _parts(life)
    return naming.life(session, number - 1) if number > 1 else None


def _parts(life: str) -> tuple[str, int]:
    found = naming.life_of(life)
    assert found is not None, life
    return found
