"""Starting by id, where the engine takes an id again: the record of the start decides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from perdure.hosts.replay import client, wire
from perdure.payloads import records, refs, store

START: Final = "start"
CALL_INLINE_BYTES: Final = 2048
"""A longer call is stored: it would travel with every life and every turn."""


FIRST_LOOK_SECONDS: Final = 0.05
LAST_LOOK_SECONDS: Final = 0.5
"""How often, and at last after how long, it is looked whether a start that was accepted has reached the engine."""


class Started(msgspec.Struct, frozen=True, array_like=True):
    """The record of a start.

    Attributes:
        name: The orchestration's durable name.
        digest: Of its input.
        created: Seconds since the epoch.
        start: What the engine is given.
    """

    name: str
    digest: bytes
    created: float
    start: str


class Starts:
    """Starts orchestrations, each id once.

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
        self, name: str, instance_id: str, call: bytes, digest: bytes = b"", blobs: Iterable[refs.Blob] = ()
    ) -> tuple[Started, bool]:
        """Start an orchestration unless the id exists; gives what was started under it, and whether by this call.

        Raises:
            HubError: If it could not be made durable, or the engine not reached: nobody was told of a start.
        """
        items = list(blobs)
        first = wire.Start(call)
        if len(call) > self._inline_bytes:
            items.append(refs.blob(call))
            first = wire.Start(b"", items[-1].digest)
        mine = Started(name, digest, time.time(), wire.pack(first))
        if first.stored:
            # The next to start it has another call, since its trace is another: what the record names is there first.
            await self._payloads.put(instance_id, items)
            new = await self._records.put_if_absent(instance_id, START, wire.encode(mine))
        else:
            # In one go: who finds the record without the payloads finds no orchestration either, and puts them again.
            _, new = await asyncio.gather(
                self._payloads.put(instance_id, items),
                self._records.put_if_absent(instance_id, START, wire.encode(mine)),
            )
        if new:
            await self._engine.start(name, instance_id, mine.start)
            return mine, True
        found = await self.find(instance_id)
        if found is None:
            # Purged since.
            return await self.start(name, instance_id, call, digest, items)
        if found.digest == digest and found.name == name:
            # Whoever wrote the record may be about to tell the engine, or have died before that.
            await self._tell(name, instance_id, found)
        return found, False

    async def _tell(self, name: str, instance_id: str, found: Started) -> None:
        delay = FIRST_LOOK_SECONDS
        while await self._engine.get(instance_id) is None:
            if delay > LAST_LOOK_SECONDS:
                await self._engine.start(name, instance_id, found.start)
                return
            await asyncio.sleep(delay)
            delay *= 2

    async def find(self, instance_id: str) -> Started | None:
        """Give what was started under an id."""
        body = await self._records.get(instance_id, START)
        return None if body is None else wire.decode(body, Started)

    async def read_start(self, instance_id: str) -> wire.Start | None:
        """Give the input that the first life of an orchestration had."""
        found = await self.find(instance_id)
        return None if found is None else wire.unpack(found.start, wire.Start)

    async def forget(self, instance_id: str) -> None:
        """Delete an orchestration that has ended, with all that belongs to it."""
        await self._engine.purge(instance_id)
        await self._payloads.purge(instance_id)
        await self._records.forget(instance_id)
