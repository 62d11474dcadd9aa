"""Payloads and records over a line that is cut or says 503, and accounts that are not as they should be."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from tests.azurite import emulator

from perdure import errors
from perdure.payloads import refs
from perdure.payloads.stores import blob_container, blob_store, storage_account

BLOBS = [refs.blob(b"small"), refs.blob(b"x" * 100_000)]


def first_of_each(fault: bytes, seen: set[str]) -> object:
    def give(number: int, request: str) -> bytes | None:
        if request in seen:
            return None
        seen.add(request)
        return fault

    return give


FAULTS = {"503": emulator.UNAVAILABLE, "cut before": b"", "cut after": b"after"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_payloads_are_written_and_read_over_a_line_on_which_every_first_try_fails(
    container: blob_container.Container, line: emulator.Line, fault: bytes
) -> None:
    store = blob_store.BlobPayloadStore(container)
    line.fault = first_of_each(fault, set())  # type: ignore[assignment]
    await store.put("r", BLOBS)
    bodies = [await asyncio.to_thread(store.read, "r", blob.digest) for blob in BLOBS]
    await store.purge("r")
    with pytest.raises(errors.PayloadMissing):
        await asyncio.to_thread(store.read, "r", BLOBS[0].digest)

    assert bodies == [blob.body for blob in BLOBS]
    assert len(line.requests) > len(set(line.requests)), "no request was ever repeated"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whoever_wrote_a_record_is_told_so_also_when_the_answer_to_the_write_was_lost(
    container: blob_container.Container, line: emulator.Line, fault: bytes
) -> None:
    records = blob_store.BlobRecordStore(container)
    line.fault = first_of_each(fault, set())  # type: ignore[assignment]
    wrote = await records.put_if_absent("r", "answer", b"yes")
    again = await records.put_if_absent("r", "answer", b"yes")

    assert (wrote, again) == (True, False)
    assert await records.get("r", "answer") == b"yes"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_record_is_removed_over_a_line_on_which_every_first_try_fails(
    container: blob_container.Container, line: emulator.Line, fault: bytes
) -> None:
    """Also where the answer to the removal was lost, and there is nothing left to remove."""
    records = blob_store.BlobRecordStore(container)
    await records.put_if_absent("r", "start", b"first")
    line.fault = first_of_each(fault, set())  # type: ignore[assignment]
    await records.remove("r", "start", lambda body: body == b"first")
    assert await records.get("r", "start") is None


async def test_a_line_that_stays_broken_is_an_error_and_what_was_written_is_kept(
    container: blob_container.Container, line: emulator.Line
) -> None:
    store = blob_store.BlobPayloadStore(container)
    await store.put("r", BLOBS)
    line.fault = lambda number, request: emulator.UNAVAILABLE
    with pytest.raises(errors.HubError, match="ServerBusy"):
        await store.put("r", [refs.blob(b"other")])
    line.fault = lambda number, request: b""
    with pytest.raises(errors.HubError, match="cannot be reached"):
        await asyncio.to_thread(store.read, "r", BLOBS[0].digest)
    line.fault = lambda number, request: None

    assert await asyncio.to_thread(store.read, "r", BLOBS[0].digest) == BLOBS[0].body


async def test_a_container_that_was_deleted_is_named_and_is_no_missing_payload(
    container: blob_container.Container,
) -> None:
    store = blob_store.BlobPayloadStore(container)
    await store.put("r", BLOBS)
    await container.do(lambda client: client.delete_container())

    with pytest.raises(errors.HubError, match=f"{container.name}.* is not there"):
        await asyncio.to_thread(store.read, "r", BLOBS[0].digest)
    with pytest.raises(errors.HubError, match="is not there"):
        await store.put("r", [refs.blob(b"other")])


async def test_a_payload_that_was_deleted_under_a_run_is_named(container: blob_container.Container) -> None:
    store = blob_store.BlobPayloadStore(container)
    await store.put("r", BLOBS)
    await container.do(lambda client: client.delete_blob(f"r/p/{BLOBS[0].digest.hex()}"))

    with pytest.raises(errors.PayloadMissing, match=BLOBS[0].digest.hex()):
        await asyncio.to_thread(store.read, "r", BLOBS[0].digest)


async def test_a_wrong_key_is_an_error_that_says_so(azurite: emulator.Azurite) -> None:
    wrong = azurite.connection().replace(storage_account.DEVELOPMENT_KEY, "d3Jvbmc=")
    container = blob_container.Container(storage_account.of({storage_account.SETTING: wrong}), "wrong")
    with pytest.raises(errors.HubError, match="does not accept the credentials"):
        await container.open()


async def test_an_account_that_cannot_be_reached_is_an_error_that_says_so(
    azurite: emulator.Azurite, line: emulator.Line
) -> None:
    line.fault = lambda number, request: b""
    with pytest.raises(errors.HubError, match="cannot be reached"):
        await azurite.container(port=line.port).open()


async def test_requests_to_the_account_are_not_written_to_the_log(
    azurite: emulator.Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would be two records at the level that the Functions host passes on, and those are paid for."""
    caplog.set_level(logging.INFO)
    container = azurite.container()
    await container.open()
    await container.close()
    assert [record.name for record in caplog.records if record.name.startswith("azure")] == []


async def test_what_is_under_way_when_a_container_is_closed_fails_and_is_waited_for_no_longer(
    azurite: emulator.Azurite,
) -> None:
    """Whoever waits does so on another thread or loop than the one that ends."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        container = azurite.container(port=silent.getsockname()[1])
        store = blob_store.BlobPayloadStore(container)
        waiting = [
            asyncio.create_task(store.put("r", BLOBS)),
            asyncio.create_task(asyncio.to_thread(store.read, "r", BLOBS[0].digest)),
        ]
        connections = [(await asyncio.wait_for(loop.sock_accept(silent), 20))[0] for _ in waiting]
        async with asyncio.timeout(20):
            await container.close()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        for connection in connections:
            connection.close()

    assert [type(error) for error in ended] == [errors.HubError, errors.HubError]
    assert "was closed before it had answered" in str(ended[0])


async def test_a_container_is_used_from_many_loops(azurite: emulator.Azurite) -> None:
    container = azurite.container()
    await container.open()
    store = blob_store.BlobPayloadStore(container)

    def elsewhere(number: int) -> bytes:
        blob = refs.blob(b"%d" % number)
        asyncio.run(store.put("r", [blob]))
        return store.read("r", blob.digest)

    assert await asyncio.gather(*(asyncio.to_thread(elsewhere, number) for number in range(8))) == [
        b"%d" % number for number in range(8)
    ]
    await container.close()
    assert await asyncio.to_thread(store.read, "r", refs.digest(b"3")) == b"3"
    await container.close()
