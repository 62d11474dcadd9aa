"""Whether payloads and records can be had is seen by whoever asks after a host's health, at little cost."""

from __future__ import annotations

import asyncio
import pathlib
import shutil
import socket
import time

import pytest
from tests.azurite import emulator

from perdure.hosts.azure import storage
from perdure.hosts.durabletask import hub
from perdure.payloads.stores import blob_container, blob_health, storage_account


async def test_many_who_ask_are_one_request_until_what_was_found_is_old(
    container: blob_container.Container, line: emulator.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = blob_health.Health(container)
    assert await asyncio.gather(*(health.trouble() for _ in range(20))) == [None] * 20
    assert [request.split()[0] for request in line.requests] == ["HEAD"]
    monkeypatch.setattr(blob_health, "FRESH_SECONDS", 0.0)
    assert await health.trouble() is None
    assert len(line.requests) == 2


async def test_an_account_that_cannot_be_reached_is_told_without_trying_on_and_when_it_is_back(
    container: blob_container.Container, line: emulator.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_health, "FRESH_SECONDS", 0.0)
    health = blob_health.Health(container)
    for fault, said in ((b"", "cannot be reached"), (emulator.UNAVAILABLE, "ServerBusy")):
        line.requests.clear()
        line.fault = lambda number, request, fault=fault: fault  # type: ignore[misc]
        assert said in str(await health.trouble())
        # The connection may have been an old one: a request on such a one is sent once more.
        assert len(line.requests) <= 2
    line.fault = lambda number, request: None
    assert await health.trouble() is None


async def test_an_account_that_does_not_answer_is_told_in_bounded_time(
    azurite: emulator.Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_health, "PATIENCE_SECONDS", 0.2)
    asked = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        found = azurite.container(port=server.sockets[0].getsockname()[1])
        health = blob_health.Health(found)
        began = time.monotonic()
        said = [await health.trouble() for _ in range(3)]
        assert time.monotonic() - began < 5
        assert asked.is_set()
        await found.close()
    assert all("has not answered" in str(each) or "cannot be reached" in str(each) for each in said)
    assert all(found.name in str(each) for each in said)


async def test_a_signature_in_the_address_of_an_account_is_told_to_nobody() -> None:
    """Not where it cannot be reached either, which the SDK tells in words of its own."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        place = f"http://127.0.0.1:{deaf.getsockname()[1]}/acc"
        connection = f"BlobEndpoint={place}?sig=secret;SharedAccessSignature=sv=1&sig=secret"
        account = storage_account.of({storage_account.SETTING: connection})
        found = blob_container.Container(account, "perdure-test")
        said = str(await blob_health.Health(found).trouble())
        await found.close()
    assert place in said
    assert "secret" not in said


async def test_a_container_that_is_gone_is_told_and_one_that_was_never_made_is_no_trouble(
    azurite: emulator.Azurite, container: blob_container.Container
) -> None:
    await container.do(lambda client: client.delete_container())
    assert f"{container.name!r}" in str(await blob_health.Health(container).trouble())
    assert await blob_health.Health(container, lambda: False).trouble() is None


async def test_credentials_that_are_refused_are_told_with_what_is_needed(azurite: emulator.Azurite) -> None:
    wrong = azurite.connection().replace(storage_account.DEVELOPMENT_KEY, "d3Jvbmc=")
    kept = storage.Storage({storage_account.SETTING: wrong}, "wrong")
    said = str(await kept.trouble())
    assert "does not accept the credentials" in said and "Storage Blob Data Contributor" in said
    await kept.close()


async def test_an_app_without_a_storage_account_is_told_so() -> None:
    assert storage_account.SETTING in str(await storage.Storage({}, "hub").trouble())


async def test_a_folder_for_payloads_that_is_gone_is_told(tmp_path: pathlib.Path) -> None:
    kept = hub.stores(str(tmp_path / "kept"), "hub", {})
    assert kept.trouble is not None
    assert await kept.trouble() is None
    shutil.rmtree(tmp_path / "kept")
    assert "is not there" in str(await kept.trouble())
