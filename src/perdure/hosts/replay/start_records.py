"""The record of a start: what has an id, and which of those that the id was given to it is."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.hosts.replay import wire
from perdure.payloads import owners, records

START: Final = "start"
"""Name of the record; it belongs to the id, and all else that a run keeps to its incarnation."""


class Started(msgspec.Struct, frozen=True, array_like=True):
    """The record.

    Attributes:
        name: The orchestration's durable name.
        digest: Of its input.
        created: Seconds since the epoch.
        start: What the engine is given.
        told: Whether the engine had it before this was written. Where the engine has it no more, it was deleted.
        incarnation: Which it is; empty for one that an earlier perdure has started.
    """

    name: str
    digest: bytes
    created: float
    start: str
    told: bool = False
    incarnation: str = ""

    def owner(self, instance_id: str) -> str:
        """Give who owns what it keeps."""
        return owners.of(instance_id, self.incarnation)

    @property
    def mark(self) -> str:
        """What tells it from all others of its id."""
        return self.incarnation or repr(self.created)


async def find(kept: records.RecordStore, instance_id: str) -> Started | None:
    """Give what was started under an id."""
    body = await kept.get(instance_id, START)
    return None if body is None else wire.decode(body, Started)


async def owner(kept: records.RecordStore, instance_id: str) -> str:
    """Give who owns what is kept of whatever has an id; the id itself where no start of it is recorded."""
    found = await find(kept, instance_id)
    return instance_id if found is None else found.owner(instance_id)


async def remove(kept: records.RecordStore, instance_id: str, found: Started) -> None:
    """Free an id that this has; where another has it, that is left alone."""
    await kept.remove(instance_id, START, lambda body: wire.decode(body, Started).mark == found.mark)
