from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest
from tests.azurite import emulator

from perdure.payloads import records
from perdure.payloads.stores import blob_store, folder_store
from perdure.testing.conformance import records as conformance


class TestMemoryRecordStore(conformance.RecordsSuite):
    @pytest.fixture
    async def bench(self) -> conformance.Bench:
        store = records.MemoryRecordStore()

        async def reopen() -> records.RecordStore:
            return store

        return conformance.Bench(store, reopen)


class TestBlobRecordStore(conformance.RecordsSuite):
    @pytest.fixture
    async def bench(self, azurite: emulator.Azurite) -> AsyncIterator[conformance.Bench]:
        container = azurite.container()
        await container.open()

        async def reopen() -> records.RecordStore:
            nonlocal container
            await container.close()
            container = azurite.container(container.name)
            return blob_store.BlobRecordStore(container)

        yield conformance.Bench(blob_store.BlobRecordStore(container), reopen)
        await container.close()


class TestFolderRecordStore(conformance.RecordsSuite):
    @pytest.fixture
    async def bench(self, tmp_path: pathlib.Path) -> conformance.Bench:
        async def reopen() -> records.RecordStore:
            return folder_store.FolderRecordStore(tmp_path / "shared")

        return conformance.Bench(await reopen(), reopen)
