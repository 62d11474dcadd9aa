"""Where an app on Azure Functions keeps payloads and records: Blob Storage, opened when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from perdure import errors
from perdure.payloads import refs
from perdure.payloads.stores import blob_container, blob_health, blob_store, storage_account

SITE: Final = "WEBSITE_SITE_NAME"
"""The setting in which App Service has the app's name."""


class Storage:
    """A ``payloads.store.PayloadStore`` and a ``payloads.records.RecordStore``.

    Args:
        environ: The app's settings.
        task_hub: Name of the task hub: the container bears it.
    """

    def __init__(self, environ: Mapping[str, str], task_hub: str) -> None:
        self._environ = environ
        self._name = blob_container.name_of(task_hub)
        self._container: blob_container.Container | None = None
        self._opened = False
        self._health: blob_health.Health | None = None

    async def close(self) -> None:
        """Hang up."""
        if self._container is not None:
            await self._container.close()

    async def trouble(self) -> str | None:
        """Say why it cannot be had; None where it can."""
        if self._health is None:
            try:
                self._health = blob_health.Health(self._found(), lambda: self._opened)
            except errors.PerdureError as error:
                return str(error)
        return await self._health.trouble()

    async def put(self, owner: str, blobs: Iterable[refs.Blob]) -> None:
        """Store blobs."""
        items = list(blobs)
        if items:
            await (await self._payloads()).put(owner, items)

    def read(self, owner: str, digest: bytes) -> bytes:
        """Give the encoded value with this digest."""
        return blob_store.BlobPayloadStore(self._found()).read(owner, digest)

    async def purge(self, owner: str) -> None:
        """Delete every payload of an owner."""
        await (await self._payloads()).purge(owner)

    async def put_if_absent(self, owner: str, name: str, body: bytes) -> bool:
        """Write a record unless there is one of this name."""
        return await (await self._records()).put_if_absent(owner, name, body)

    async def get(self, owner: str, name: str) -> bytes | None:
        """Give a record, or None."""
        return await (await self._records()).get(owner, name)

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        """Give the names that start with ``prefix`` and come after ``after``."""
        return await (await self._records()).names(owner, prefix, after)

    async def remove(self, owner: str, name: str, fits: Callable[[bytes], bool] = lambda body: True) -> None:
        """Delete a record whose body fits."""
        await (await self._records()).remove(owner, name, fits)

    async def forget(self, owner: str, last: Sequence[str] = ()) -> None:
        """Delete every record of an owner."""
        await (await self._records()).forget(owner, last)

    async def _payloads(self) -> blob_store.BlobPayloadStore:
        return blob_store.BlobPayloadStore(await self._open())

    async def _records(self) -> blob_store.BlobRecordStore:
        return blob_store.BlobRecordStore(await self._open())

    async def _open(self) -> blob_container.Container:
        found = self._found()
        if not self._opened:
            await found.open()
            self._opened = True
        return found

    def _found(self) -> blob_container.Container:
        if self._container is None:
            self._container = blob_container.Container(storage_account.of(self._environ), self._name)
        return self._container


def task_hub(configured: str, default: str, environ: Mapping[str, str]) -> str:
    """Name the task hub: as it is configured, else as the app is called, so that two apps on one account stay apart."""
    return environ.get(SITE) or configured if configured == default else configured
