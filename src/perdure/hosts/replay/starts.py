"""Starting by id, where the engine takes an id again: the record of the start decides.

It is the first to be there and the last to go but for the mark that somebody deletes: while it is there, what an
earlier orchestration of its id has left may be, and nobody starts another.

An id that was made for its start needs none: nobody knows it before the engine has it, and what the engine was given
says how it began. Its record is written when something is to be decided by it: it is deleted, or goes on after an end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from perdure import errors
from perdure.hosts.replay import client, wire
from perdure.payloads import records, refs, store

START: Final = "start"
CALL_INLINE_BYTES: Final = 2048
"""A longer call is stored: it would travel with every life and every turn."""


FIRST_LOOK_SECONDS: Final = 0.05
LAST_LOOK_SECONDS: Final = 0.5
"""How often, and at last after how long, it is looked whether a start that was accepted has reached the engine."""

TELLING_SECONDS: Final = 60.0
"""For so long whoever has accepted a start may be about to tell the engine: it is not deleted before that."""

SURE_SECONDS: Final = 20.0
"""Who has told the engine so soon need not look whether the start was deleted; clocks may differ by the rest."""

PURGE_SECONDS: Final = 10.0
"""For so long whoever began to delete an orchestration is let do so, before a start does it."""

UNDO_SECONDS: Final = 30.0
"""How long it is waited until an orchestration that was deleted before it began has ended."""


class Started(msgspec.Struct, frozen=True, array_like=True):
    """The record of a start.

    Attributes:
        name: The orchestration's durable name.
        digest: Of its input.
        created: Seconds since the epoch.
        start: What the engine is given.
        told: Whether the engine had it before this was written. Where the engine has it no more, it was deleted.
    """

    name: str
    digest: bytes
    created: float
    start: str
    told: bool = False


class Starts:
    """Starts orchestrations, each id once, and deletes them.

    Args:
        engine: The engine.
        payloads: Where payloads go.
        kept: Where records go.
        inline_bytes: The longest call that is not stored apart.
    """

    def __init__(
        self,
        engine: client.Client,
        payloads: store.PayloadStore,
        kept: records.RecordStore,
        inline_bytes: int = CALL_INLINE_BYTES,
    ) -> None:
        self._inline_bytes = inline_bytes
        self._engine = engine
        self._payloads = payloads
        self._records = kept

    async def start(
        self,
        name: str,
        instance_id: str,
        call: bytes,
        digest: bytes = b"",
        blobs: Iterable[refs.Blob] = (),
        *,
        fresh: bool = False,
    ) -> tuple[Started, bool]:
        """Start an orchestration unless the id exists; gives what was started under it, and whether by this call.

        Args:
            name: Its durable name.
            instance_id: Its id.
            call: What it is started with.
            digest: Of its input.
            blobs: Payloads that the call refers to.
            fresh: Whether the id was made for this start, so that nobody else can have it.

        Raises:
            HubError: If it could not be made durable, or the engine not reached: nobody was told of a start. The same
                start again goes on from there.
        """
        items = list(blobs)
        first = wire.Start(call, digest=digest)
        if len(call) > self._inline_bytes:
            items.append(refs.blob(call))
            first = wire.Start(b"", items[-1].digest, digest=digest)
        if fresh:
            await self._payloads.put(instance_id, items)
            mine = Started(name, digest, time.time(), wire.pack(first), True)
            await self._engine.start(name, instance_id, mine.start)
            return mine, True
        while True:
            if (state := await self._engine.get(instance_id)) is not None:
                # Started past perdure, it has no digest, and no start is the same.
                other = await self.known(state)
                return other or Started(state.name, b"", state.created, "", True), False
            mine = Started(name, digest, time.time(), wire.pack(first))
            if first.stored:
                # The next to start it has another call, since its trace is another: what the record names comes first.
                await self._payloads.put(instance_id, items)
                new = await self._records.put_if_absent(instance_id, START, wire.encode(mine))
            else:
                # In one go: who finds the record without the payloads finds no orchestration either, and puts them.
                _, new = await asyncio.gather(
                    self._payloads.put(instance_id, items),
                    self._records.put_if_absent(instance_id, START, wire.encode(mine)),
                )
            found = mine if new else await self.find(instance_id)
            if found is None:
                # Deleted since.
                continue
            if new:
                other = await self.tell(instance_id, mine)
                if other is None:
                    continue
                return other, other is mine
            if await self._engine.get(instance_id) is not None:
                return found, False
            deleted = await self._deleted(instance_id, found)
            if deleted is None and found.told:
                deleted = time.time()
                await self._records.put_if_absent(instance_id, _mark(found), wire.encode(deleted))
            if deleted is not None:
                await self._clear(instance_id, found, deleted)
                continue
            if await self.find(instance_id) != found:
                # Deleted since: the mark goes after the start.
                continue
            if found.digest != digest or found.name != name:
                return found, False
            # Whoever wrote the record may be about to tell the engine, or have died before that.
            if (other := await self._tell_if_untold(instance_id, found)) is not None:
                return other, False

    async def _tell_if_untold(self, instance_id: str, found: Started) -> Started | None:
        delay = FIRST_LOOK_SECONDS
        while delay <= LAST_LOOK_SECONDS:
            await asyncio.sleep(delay)
            delay *= 2
            if await self._engine.get(instance_id) is not None:
                return found
        return await self.tell(instance_id, found)

    async def tell(self, instance_id: str, started: Started) -> Started | None:
        """Tell the engine of a start; gives what has its id there, None if the start was deleted meanwhile."""
        if not await self._engine.start(started.name, instance_id, started.start):
            state = await self._engine.get(instance_id)
            if state is not None and state.name != started.name:
                # Started past perdure, under an id of its own choosing.
                await self._payloads.purge(instance_id)
                await self._records.forget(instance_id, (START,))
                return Started(state.name, b"", state.created, "")
        if time.time() - started.created > SURE_SECONDS and not await self.stands(instance_id, started):
            await self.undo(instance_id)
            return None
        return started

    async def stands(self, instance_id: str, started: Started) -> bool:
        """Say whether a start is there, and nobody deletes it."""
        # In this order: who deletes it takes away the start, then the mark.
        return await self._deleted(instance_id, started) is None and await self.find(instance_id) == started

    async def undo(self, instance_id: str) -> None:
        """End an orchestration whose start was deleted before the engine was told."""
        await self._engine.terminate(instance_id, "It was deleted.")
        await self._engine.wait(instance_id, UNDO_SECONDS)
        await self._engine.purge(instance_id)

    async def find(self, instance_id: str) -> Started | None:
        """Give what was started under an id."""
        body = await self._records.get(instance_id, START)
        return None if body is None else wire.decode(body, Started)

    async def known(self, state: client.State) -> Started | None:
        """Give what was started where the engine has something; None if that was no client of perdure's."""
        return await self.find(state.id) or await self._given(state)

    async def write_down(self, state: client.State) -> Started | None:
        """Give the record of what has ended, written now if there is none; None if that was no client of perdure's."""
        if (found := await self.find(state.id)) is not None:
            return found
        given = await self._given(state)
        if given is None or await self._records.put_if_absent(state.id, START, wire.encode(given)):
            return given
        # Deleted since, and the id is taken again: that one has not ended.
        return given if await self.find(state.id) == given else None

    async def _given(self, state: client.State) -> Started | None:
        text = await self._engine.given(state.id)
        try:
            digest = b"" if text is None else wire.unpack(text, wire.Start).digest
        except (ValueError, errors.CodecError):
            return None
        return Started(state.name, digest, state.created, text, True) if text is not None and digest else None

    async def find_untold(self, instance_id: str) -> Started | None:
        """Give what was started under an id that the engine does not know; None if it is being deleted."""
        found = await self.find(instance_id)
        return found if found is not None and not found.told and await self.stands(instance_id, found) else None

    async def may_be_deleted(self, instance_id: str, found: Started) -> bool:
        """Say whether a start that the engine does not know may be deleted: nobody can be about to tell it."""
        late = found.told or time.time() - found.created > TELLING_SECONDS
        return late or await self._deleted(instance_id, found) is not None

    async def forget(self, instance_id: str, found: Started) -> bool:
        """Delete an orchestration that has ended, with all that belongs to it; False if it goes on.

        Where this is broken off, it is as if it were deleted, and the next to delete or to start it deletes the rest.
        """
        mark = _mark(found)
        await self._records.put_if_absent(instance_id, mark, wire.encode(time.time()))
        await self._engine.purge(instance_id)
        if await self._engine.get(instance_id) is not None:
            # Told just now, or rewound.
            return False
        # Another who deletes it may be faster: then the id is free, or taken again.
        if await self.find(instance_id) == found:
            await self._payloads.purge(instance_id)
        if await self.find(instance_id) == found:
            await self._records.forget(instance_id, (START, mark))
        return True

    async def _deleted(self, instance_id: str, found: Started) -> float | None:
        """When somebody began to delete it; None if nobody has."""
        body = await self._records.get(instance_id, _mark(found))
        return None if body is None else wire.decode(body, float)

    async def _clear(self, instance_id: str, found: Started, since: float) -> None:
        """Wait until an id is free whose orchestration is being deleted; whoever did that may have died."""
        delay = FIRST_LOOK_SECONDS
        while await self.find(instance_id) == found:
            if time.time() - since > PURGE_SECONDS:
                await self.forget(instance_id, found)
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_LOOK_SECONDS)


def _mark(found: Started) -> str:
    """Name the record that an orchestration is being deleted; an earlier one of its id has another."""
    return f"deleted/{found.created!r}"
