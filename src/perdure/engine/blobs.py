"""Where payloads lie: small ones in the hub's own transactions, large ones in a file with its own writer."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import apsw

from perdure.engine import batch, hub, reader, writer
from perdure.payloads import compression, refs, store


class _Job(NamedTuple):
    future: asyncio.Future[None]
    owner: str
    bodies: Sequence[refs.Blob] | None
    """None purges the owner."""


class LargeBlobs:
    """The file of large payloads."""

    def __init__(self, home: hub.Hub) -> None:
        self._folder: pathlib.Path = home.folder
        self._readers = reader.Readers(home.payload_reader)
        self._writer: writer.Writer[_Job] = writer.Writer("perdure-payloads", home.payload_writer, _apply, self._done)

    async def put(self, owner: str, blobs: Sequence[refs.Blob]) -> None:
        """Store blobs; when this returns they are durable."""
        await self._submit(owner, blobs)

    async def purge(self, owner: str) -> None:
        """Delete what an owner has."""
        await self._submit(owner, None)

    def read(self, owner: str, digest: bytes) -> bytes | None:
        """Give a stored body as it was packed, or None."""
        row = self._readers.row("select_payload", (owner, digest))
        return None if row is None else row[0]

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        await self._writer.close()
        self._readers.close()

    async def crash(self) -> None:
        """Drop what is not committed."""
        await self._writer.crash()
        self._readers.close()

    async def _submit(self, owner: str, blobs: Sequence[refs.Blob] | None) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer.put(_Job(future, owner, blobs))
        await future

    def _done(self, jobs: Sequence[_Job], error: BaseException | None) -> None:
        if error is not None:
            self._writer.resume()
        for job in jobs:
            if job.future.done():
                continue
            if error is None:
                job.future.set_result(None)
            else:
                job.future.set_exception(hub.unwritable(self._folder, error))


def _apply(cursor: apsw.Cursor, jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.bodies is None:
            writer.write_rows(cursor, "delete_payloads", [job.owner])
            continue
        for body in job.bodies:
            writer.write_rows(cursor, "insert_payloads", [job.owner, body.digest, compression.pack(body.body)])


class Payloads:
    """The engine's ``payloads.store.PayloadStore``.

    Args:
        readers: Readers of the hub file.
        large: The file of large payloads.
        put_small: Makes small payloads durable in the hub file.
        purge_small: Deletes an owner's payloads from the hub file.
    """

    def __init__(
        self,
        readers: reader.Readers,
        large: LargeBlobs,
        put_small: Callable[[str, Sequence[refs.Blob]], Awaitable[None]],
        purge_small: Callable[[str], Awaitable[None]],
    ) -> None:
        self._readers = readers
        self._large = large
        self._put_small = put_small
        self._purge_small = purge_small

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Store blobs; when this returns they survive a crash.

        Raises:
            HubError: If they could not be made durable.
        """
        small, large = split(blobs)
        if large:
            await self._large.put(owner, large)
        if small:
            await self._put_small(owner, small)

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give the encoded value with this digest; from any thread.

        Raises:
            PayloadMissing: If the owner has no such payload.
        """
        row = self._readers.row("select_payload", (owner, digest))
        packed = self._large.read(owner, digest) if row is None else row[0]
        if packed is None:
            raise store.missing(owner, digest)
        return compression.unpack(packed)

    async def purge(self, owner: str) -> None:
        """Delete every payload of an owner."""
        await self._purge_small(owner)
        await self._large.purge(owner)


def split(blobs: Iterable[refs.Blob]) -> tuple[list[refs.Blob], list[refs.Blob]]:
    """Part blobs into those for the hub file and those for the file of large ones."""
    small: list[refs.Blob] = []
    large: list[refs.Blob] = []
    for item in blobs:
        (small if len(item.body) <= batch.SMALL_LIMIT_BYTES else large).append(item)
    return small, large
