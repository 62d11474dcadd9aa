"""Starting by id, where the engine takes an id again: the record of the start decides.

It is the first to be there and the last to go: while it is there nobody starts another. What an orchestration keeps
lies under an incarnation of its own, so that nothing of an earlier one of its id is ever met.

An id that was made for its start needs none: nobody knows it before the engine has it, and what the engine was given
says how it began. Its record is written when something is to be decided by it: it is deleted, or goes on after an end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from perdure import errors
from perdure.hosts.replay import client, deletions, start_records, wire
from perdure.payloads import owners, records, refs, store

CALL_INLINE_BYTES: Final = 2048
"""A longer call is stored: it would travel with every life and every turn."""

FIRST_LOOK_SECONDS: Final = 0.05
LAST_LOOK_SECONDS: Final = 0.5
"""How often, and at last after how long, it is looked whether a start that was accepted has reached the engine."""

TELLING_SECONDS: Final = 60.0
"""For so long whoever has accepted a start may be about to tell the engine: it is not deleted before that."""

SURE_SECONDS: Final = 20.0
"""Who has told the engine so soon need not look whether the start was deleted; clocks may differ by the rest."""

UNDO_SECONDS: Final = 30.0
"""How long it is waited until an orchestration that was deleted before it began has ended."""


class Starts:
    """Starts orchestrations, each id once at a time.

    Args:
        engine: The engine.
        payloads: Where payloads go.
        kept: Where records go.
        inline_bytes: The longest call that is not stored apart.

    Attributes:
        deletions: What deletes them.
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
        self.deletions = deletions.Deletions(engine, payloads, kept)

    async def start(
        self,
        name: str,
        instance_id: str,
        call: bytes,
        digest: bytes = b"",
        blobs: Iterable[refs.Blob] = (),
        *,
        fresh: bool = False,
    ) -> tuple[start_records.Started, bool]:
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
        if fresh:
            return await self._start_fresh(name, instance_id, call, digest, items), True
        while True:
            if (state := await self._engine.get(instance_id)) is not None:
                # Started past perdure, it has no digest, and no start is the same.
                other = await self.known(state)
                return other or start_records.Started(state.name, b"", state.created, "", True), False
            mine, new = await self._record(name, instance_id, call, digest)
            found = mine if new else await start_records.find(self._records, instance_id)
            if found is None:
                # Deleted since.
                continue
            if new:
                await self._payloads.put(mine.owner(instance_id), items)
                other = await self.tell(instance_id, mine)
                if other is None:
                    continue
                return other, other is mine
            if await self._engine.get(instance_id) is not None:
                return found, False
            if found.told or await self.deletions.begun(instance_id, found):
                # It waits for whoever does it; who began to may have died.
                await self.deletions.delete(instance_id, found)
                continue
            if await start_records.find(self._records, instance_id) != found:
                # Deleted since: the mark goes before the start.
                continue
            if found.digest != digest or found.name != name:
                return found, False
            # Whoever wrote the record may be about to tell the engine, or have died before that.
            await self._payloads.put(found.owner(instance_id), items)
            if (other := await self._tell_if_untold(instance_id, found)) is not None:
                return other, False

    async def _start_fresh(
        self, name: str, instance_id: str, call: bytes, digest: bytes, items: list[refs.Blob]
    ) -> start_records.Started:
        incarnation = owners.new_incarnation()
        first, long = self._first(call, digest, incarnation)
        await self._payloads.put(owners.of(instance_id, incarnation), [*items, *long])
        mine = start_records.Started(name, digest, time.time(), wire.pack(first), True, incarnation)
        await self._engine.start(name, instance_id, mine.start)
        return mine

    async def _record(
        self, name: str, instance_id: str, call: bytes, digest: bytes
    ) -> tuple[start_records.Started, bool]:
        """Be the first to record a start under an id; gives it, and whether it is.

        But for a long call nothing lies under an incarnation that has no record.
        """
        incarnation = owners.new_incarnation()
        first, long = self._first(call, digest, incarnation)
        # The next to start it has another call, since its trace is another: what the record names comes first.
        await self._payloads.put(owners.of(instance_id, incarnation), long)
        mine = start_records.Started(name, digest, time.time(), wire.pack(first), incarnation=incarnation)
        new = await self._records.put_if_absent(instance_id, start_records.START, wire.encode(mine))
        if long and not new:
            await self._payloads.purge(owners.of(instance_id, incarnation))
        return mine, new

    def _first(self, call: bytes, digest: bytes, incarnation: str) -> tuple[wire.Start, list[refs.Blob]]:
        """Give what an orchestration is started with, and what is stored of it."""
        if len(call) <= self._inline_bytes:
            return wire.Start(call, incarnation=incarnation, digest=digest), []
        long = refs.blob(call)
        return wire.Start(b"", long.digest, incarnation=incarnation, digest=digest), [long]

    async def _tell_if_untold(self, instance_id: str, found: start_records.Started) -> start_records.Started | None:
        delay = FIRST_LOOK_SECONDS
        while delay <= LAST_LOOK_SECONDS:
            await asyncio.sleep(delay)
            delay *= 2
            if await self._engine.get(instance_id) is not None:
                return found
        return await self.tell(instance_id, found)

    async def tell(self, instance_id: str, started: start_records.Started) -> start_records.Started | None:
        """Tell the engine of a start; gives what has its id there, None if the start was deleted meanwhile.

        Raises:
            HubError: If the engine cannot be reached, or has something that was deleted yet.
        """
        if not await self._engine.start(started.name, instance_id, started.start):
            state = await self._engine.get(instance_id)
            if state is not None and state.name != started.name:
                # Started past perdure, under an id of its own choosing.
                await self.deletions.wipe(started.owner(instance_id))
                await start_records.remove(self._records, instance_id, started)
                return start_records.Started(state.name, b"", state.created, "")
            if state is not None and state.owner not in (None, started.owner(instance_id)):
                raise errors.HubError(
                    f"The id {instance_id!r} has an orchestration that was deleted, or started by hand just now.",
                    "Try again.",
                )
        if time.time() - started.created > SURE_SECONDS and not await self.stands(instance_id, started):
            await self.undo(instance_id, started)
            return None
        return started

    async def stands(self, instance_id: str, started: start_records.Started) -> bool:
        """Say whether a start is there, and nobody deletes it."""
        # In this order: who deletes it marks it first, and takes the record last.
        return (
            not await self.deletions.begun(instance_id, started)
            and await start_records.find(self._records, instance_id) == started
        )

    async def undo(self, instance_id: str, started: start_records.Started) -> None:
        """End an orchestration whose start was deleted before the engine was told."""
        state = await self._engine.get(instance_id)
        if state is None or state.owner not in (None, started.owner(instance_id)):
            return
        await self._engine.terminate(instance_id, "It was deleted.")
        await self._engine.wait(instance_id, UNDO_SECONDS)
        await self._engine.purge(instance_id)
        # Whoever deleted it may have seen it going on.
        await self.deletions.delete(instance_id, started)

    async def known(self, state: client.State) -> start_records.Started | None:
        """Give what was started where the engine has something; None if that was no client of perdure's."""
        return await start_records.find(self._records, state.id) or await self._given(state)

    async def write_down(self, state: client.State) -> start_records.Started | None:
        """Give the record of what has ended, written now if there is none; None if that was no client of perdure's."""
        if (found := await start_records.find(self._records, state.id)) is not None:
            return found
        given = await self._given(state)
        if given is None or await self._records.put_if_absent(state.id, start_records.START, wire.encode(given)):
            return given
        # Deleted since, and the id is taken again: that one has not ended.
        return given if await start_records.find(self._records, state.id) == given else None

    async def _given(self, state: client.State) -> start_records.Started | None:
        text = await self._engine.given(state.id)
        if text is None:
            return None
        try:
            first = wire.unpack(text, wire.Start)
        except (ValueError, errors.CodecError):
            return None
        if not first.digest:
            return None
        return start_records.Started(state.name, first.digest, state.created, text, True, first.incarnation)

    async def find_untold(self, instance_id: str) -> start_records.Started | None:
        """Give what was started under an id that the engine does not know; None if it is being deleted."""
        found = await start_records.find(self._records, instance_id)
        return found if found is not None and not found.told and await self.stands(instance_id, found) else None

    async def may_be_deleted(self, instance_id: str, found: start_records.Started) -> bool:
        """Say whether a start that the engine does not know may be deleted: nobody can be about to tell it."""
        late = found.told or time.time() - found.created > TELLING_SECONDS
        return late or await self.deletions.begun(instance_id, found)
