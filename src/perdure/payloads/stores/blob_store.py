"""Payloads and records in Blob Storage: one container for each task hub, one prefix for each root run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

from perdure.payloads import compression, refs, store
from perdure.payloads.stores import blob_container

PARALLEL_PACKING_BYTES: Final = 256 * 1024
_WRITER: Final = "writer"
_NOT_THERE: Final = ("BlobNotFound", "ResourceNotFound")


class BlobPayloadStore:
    """A ``payloads.store.PayloadStore`` in a container.

    Args:
        container: The container; opened.
    """

    def __init__(self, container: blob_container.Container) -> None:
        self._container = container

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Store blobs beside each other; when this returns they are durable.

        Raises:
            HubError: If the account cannot be reached or refuses.
        """
        bodies = {item.digest: item.body for item in blobs}
        if not bodies:
            return

        async def upload(client: Any) -> None:
            await blob_container.each(
                _pack_and_upload(client, _payload(owner, digest), body) for digest, body in bodies.items()
            )

        await self._container.do(upload)

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give the encoded value with this digest; from any thread, which waits for it.

        Raises:
            PayloadMissing: If the owner has no such payload.
            HubError: If the account cannot be reached or refuses.
        """
        found = self._container.do_now(lambda client: _download(client, _payload(owner, digest)))
        if found is None:
            raise store.missing(owner, digest)
        return compression.unpack(found)

    async def purge(self, owner: str) -> None:
        """Delete every payload of an owner."""
        await self._container.do(lambda client: _delete(client, f"{_folder(owner)}/p/"))


class BlobRecordStore:
    """A ``payloads.records.RecordStore`` in a container.

    Args:
        container: The container; opened.
    """

    def __init__(self, container: blob_container.Container) -> None:
        self._container = container

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        """Write a record unless there is one of this name.

        Raises:
            HubError: If it could not be made durable; it may have been written all the same.
        """
        # The client repeats a write whose answer was lost, and is then told that the blob exists: by itself.
        writer = uuid.uuid4().hex

        async def write(client: Any) -> bool:
            blob = _record(owner, name)
            if await _upload(client, blob, body, {_WRITER: writer}):
                return True
            found = await client.get_blob_client(blob).get_blob_properties()
            return bool(found.metadata.get(_WRITER) == writer)

        return await self._container.do(write)

    async def get(self, owner: str, name: str) -> bytes | None:
        """Give a record, or None."""
        return await self._container.do(lambda client: _download(client, _record(owner, name)))

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        """Give the names that start with ``prefix`` and come after ``after``."""
        start = _record(owner, "")

        async def listed(client: Any) -> list[str]:
            found = client.list_blob_names(name_starts_with=start + _quoted(prefix))
            return [unquote(name[len(start) :]) async for name in found]

        found = await self._container.do(listed)
        return sorted((name for name in found if not after or name.encode() > after.encode()), key=str.encode)

    async def remove(self, owner: str, name: str, fits: Callable[[bytes], bool] = lambda body: True) -> None:
        """Delete a record whose body fits."""
        await self._container.do(lambda client: _delete_fitting(client, _record(owner, name), fits))

    async def forget(self, owner: str, last: Sequence[str] = ()) -> None:
        """Delete every record of an owner."""
        kept = [_record(owner, name) for name in last]

        async def delete(client: Any) -> None:
            await _delete(client, _record(owner, ""), but=kept)
            for blob in kept:
                await _delete_one(client, blob)

        await self._container.do(delete)


async def _pack(body: bytes) -> bytes:
    if len(body) < PARALLEL_PACKING_BYTES:
        return compression.pack(body)
    return await asyncio.to_thread(compression.pack, body)


async def _pack_and_upload(client: Any, blob: str, body: bytes) -> None:
    await _upload(client, blob, await _pack(body))


async def _upload(client: Any, blob: str, body: bytes, metadata: dict[str, str] | None = None) -> bool:
    """Write a blob unless it is there; False if it was."""
    try:
        await client.upload_blob(blob, body, overwrite=False, metadata=metadata, max_concurrency=4)
    except blob_container.AlreadyThere:
        return False
    return True


async def _download(client: Any, blob: str) -> bytes | None:
    found = await _download_version(client, blob)
    return None if found is None else found[0]


async def _download_version(client: Any, blob: str) -> tuple[bytes, str] | None:
    """Give a blob with the tag that it has as long as it is this one."""
    try:
        stream = await client.download_blob(blob, max_concurrency=4)
        body: bytes = await stream.readall()
    except blob_container.NotThere as error:
        if error.error_code in _NOT_THERE:  # type: ignore[attr-defined]  # the storage client adds it
            return None
        raise
    return body, str(stream.properties.etag)


async def _delete(client: Any, prefix: str, but: Sequence[str] = ()) -> None:
    async for page in client.list_blob_names(name_starts_with=prefix).by_page():
        await blob_container.each([_delete_one(client, name) async for name in page if name not in but])


async def _delete_one(client: Any, name: str) -> None:
    try:
        await client.delete_blob(name)
    except blob_container.NotThere:
        return


async def _delete_fitting(client: Any, name: str, fits: Callable[[bytes], bool]) -> None:
    found = await _download_version(client, name)
    if found is None or not await asyncio.to_thread(fits, found[0]):
        return
    try:
        await client.delete_blob(name, etag=found[1], match_condition=blob_container.IF_NOT_MODIFIED)
    except (blob_container.NotThere, blob_container.Modified):
        return


def _quoted(text: str) -> str:
    # A segment that ends with a dot is cut by the service.
    return quote(text, safe="").replace(".", "%2E")


def _folder(owner: str) -> str:
    return _quoted(owner)


def _payload(owner: str, digest: bytes) -> str:
    return f"{_folder(owner)}/p/{digest.hex() or '-'}"


def _record(owner: str, name: str) -> str:
    return f"{_folder(owner)}/r/{_quoted(name)}"
