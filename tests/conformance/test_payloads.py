from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest
from tests.azurite import emulator

from perdure.engine import engine
from perdure.payloads import store
from perdure.payloads.stores import blob_store, folder_store
from perdure.testing.conformance import payloads as conformance


class TestMemoryPayloadStore(conformance.PayloadsSuite):
    @pytest.fixture
    async def bench(self) -> conformance.Bench:
        payloads = store.MemoryPayloadStore()

        async def reopen() -> store.PayloadStore:
            return payloads

        return conformance.Bench(payloads, reopen)


class TestEngine(conformance.PayloadsSuite):
    @pytest.fixture
    async def bench(self, tmp_path: pathlib.Path) -> AsyncIterator[conformance.Bench]:
        def make() -> engine.Engine:
            return engine.Engine(tmp_path / "hub", orchestrators={}, activities={})

        durable = make()
        await durable.start()

        async def reopen() -> store.PayloadStore:
            nonlocal durable
            await durable.crash()
            durable = make()
            await durable.start()
            return durable.payloads

        yield conformance.Bench(durable.payloads, reopen)
        await durable.close()


class TestBlobPayloadStore(conformance.PayloadsSuite):
    @pytest.fixture
    async def bench(self, azurite: emulator.Azurite) -> AsyncIterator[conformance.Bench]:
        container = azurite.container()
        await container.open()

        async def reopen() -> store.PayloadStore:
            nonlocal container
            await container.close()
            container = azurite.container(container.name)
            return blob_store.BlobPayloadStore(container)

        yield conformance.Bench(blob_store.BlobPayloadStore(container), reopen)
        await container.close()


class TestFolderPayloadStore(conformance.PayloadsSuite):
    @pytest.fixture
    async def bench(self, tmp_path: pathlib.Path) -> conformance.Bench:
        async def reopen() -> store.PayloadStore:
            return folder_store.FolderPayloadStore(tmp_path / "shared")

        return conformance.Bench(await reopen(), reopen)
