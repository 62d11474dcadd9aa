"""The payload store: immutable encoded values of a run, named by digest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from perdure import errors
from perdure.payloads import refs


class PayloadStore(Protocol):
    """What perdure needs of a place that keeps payloads.

    Payloads are immutable and belong to one root run (their owner); writing one that is there already
    changes nothing. Every back end runs the suite in ``perdure.testing.conformance.payloads``.
    """

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Store blobs; when this returns they survive a crash.

        Raises:
            HubError: If they could not be made durable.
        """
        ...

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give the encoded value with this digest.

        Raises:
            PayloadMissing: If the owner has no such payload.
        """
        ...

    async def purge(self, owner: str) -> None:
        """Delete every payload of an owner; one that has none is no error."""
        ...


class MemoryPayloadStore:
    """The in-memory twin: for tests and for hosts that keep nothing."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, bytes], bytes] = {}

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Keep blobs."""
        for item in blobs:
            self._bodies.setdefault((owner, item.digest), item.body)

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give a kept value."""
        try:
            return self._bodies[owner, digest]
        except KeyError:
            raise missing(owner, digest) from None

    async def purge(self, owner: str) -> None:
        """Forget an owner's values."""
        for key in [key for key in self._bodies if key[0] == owner]:
            del self._bodies[key]


def missing(owner: str, digest: bytes) -> errors.PayloadMissing:
    """Describe a payload that is not there."""
    return errors.PayloadMissing(
        f"The payload {digest.hex()} of run {owner!r} is not in the store.",
        "It was deleted, or the hub was restored from an incomplete copy; purge the run or restore the hub.",
    )
