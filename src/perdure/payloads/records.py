"""Records beside a run: small named bodies, each written once. The first write of a name decides.

A host whose engine cannot refuse (an event that is raised twice, a start under an id that exists) accepts by
such a record: whoever wrote it was accepted, everybody after was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class RecordStore(Protocol):
    """What perdure needs of a place that keeps records.

    A record is immutable and belongs to one root run (its owner); its name is text of at most 512 characters.
    Every back end runs the suite in ``perdure.testing.conformance.records``.
    """

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        """Write a record unless there is one of this name; durable when this returns.

        Returns:
            Whether it was this call that wrote it. Of many calls at once exactly one is told so, also where
            the answer to a write was lost on the way and the write was repeated.

        Raises:
            HubError: If it could not be made durable; it may have been written all the same.
        """
        ...

    async def get(self, owner: str, name: str) -> bytes | None:
        """Give a record, or None."""
        ...

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        """Give the names that start with ``prefix`` and come after ``after``, in the order of their UTF-8 bytes."""
        ...

    async def remove(self, owner: str, name: str, fits: Callable[[bytes], bool] = lambda body: True) -> None:
        """Delete a record; one that is not there is no error.

        Args:
            owner: The owner.
            name: The record's name.
            fits: Says whether it is the one that is meant; asked on any thread, perhaps twice. What takes the place of
                that one meanwhile is not deleted.
        """
        ...

    async def forget(self, owner: str, last: Sequence[str] = ()) -> None:
        """Delete every record of an owner; one that has none is no error.

        Args:
            owner: The owner.
            last: Names of records that go after all others, one after another: whoever does not find one finds none
                of those before it either, wherever a deletion was broken off.
        """
        ...


class MemoryRecordStore:
    """The in-memory twin."""

    def __init__(self) -> None:
        self._bodies: dict[str, dict[str, bytes]] = {}

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        """Keep a record unless there is one of this name."""
        records = self._bodies.setdefault(owner, {})
        if name in records:
            return False
        records[name] = body
        return True

    async def get(self, owner: str, name: str) -> bytes | None:
        """Give a record, or None."""
        return self._bodies.get(owner, {}).get(name)

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        """Give the names that start with ``prefix`` and come after ``after``."""
        found = (name for name in self._bodies.get(owner, {}) if name.startswith(prefix))
        return sorted((name for name in found if not after or name.encode() > after.encode()), key=str.encode)

    async def remove(self, owner: str, name: str, fits: Callable[[bytes], bool] = lambda body: True) -> None:
        """Delete a record whose body fits."""
        body = await self.get(owner, name)
        if body is not None and fits(body) and await self.get(owner, name) is body:
            del self._bodies[owner][name]

    async def forget(self, owner: str, last: Sequence[str] = ()) -> None:
        """Forget an owner's records."""
        self._bodies.pop(owner, None)
