"""What every back end of :class:`perdure.payloads.store.PayloadStore` must do, as tests that any of them can run.

Subclass :class:`PayloadsSuite` in a test module, with a fixture ``bench`` that gives a :class:`Bench`::

    class TestMine(PayloadsSuite):
        @pytest.fixture
        async def bench(self) -> AsyncIterator[Bench]: ...
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from perdure import errors
from perdure.payloads import refs, store

LARGE_BYTES = 20 * 1024 * 1024
CROWD = 2_000
ODD_OWNERS = ("run", "RUN", "run/1", "run_1", "run%", "ru", "run'; --", "läuft: 运行", "r" * 100)


class Bench(NamedTuple):
    """A back end.

    Attributes:
        payloads: The store, empty.
        reopen: Stops it as if killed and gives it as a new process finds it; a store that lives in memory
            gives itself.
    """

    payloads: store.PayloadStore
    reopen: Callable[[], Awaitable[store.PayloadStore]]


def noise(size: int, seed: int = 0) -> bytes:
    """Make bytes that no compression shrinks."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def assert_missing(payloads: store.PayloadStore, owner: str, digest: bytes) -> None:
    """Assert that reading says what is missing."""
    with pytest.raises(errors.PayloadMissing) as caught:
        payloads.read(owner, digest)
    assert digest.hex() in str(caught.value)
    assert owner in str(caught.value)


class PayloadsSuite:
    """The suite. Each test bears its promise as its name."""

    pytestmark = pytest.mark.asyncio

    @pytest.mark.parametrize("body", [b"", b"\x00", b"x", b"\x01" * 9], ids=["empty", "zero", "one", "ones"])
    async def test_the_smallest_bodies_are_read_back_as_they_were(self, bench: Bench, body: bytes) -> None:
        """No body looks like a mark of the store's own."""
        blob = refs.blob(body)
        await bench.payloads.put("r", [blob])
        assert bench.payloads.read("r", blob.digest) == body
        assert (await bench.reopen()).read("r", blob.digest) == body

    @pytest.mark.parametrize("size", [512, 513, 65_535, 65_536, 65_537, 1_000_000])
    async def test_a_body_of_any_size_survives_a_kill(self, bench: Bench, size: int) -> None:
        """Durable when ``put`` returns, whether it compresses or not, wherever a store draws its lines."""
        blobs = [refs.blob(noise(size, size)), refs.blob(b"ab" * (size // 2))]
        await bench.payloads.put("r", blobs)
        assert [bench.payloads.read("r", blob.digest) for blob in blobs] == [blob.body for blob in blobs]
        again = await bench.reopen()
        assert [again.read("r", blob.digest) for blob in blobs] == [blob.body for blob in blobs]

    async def test_a_body_of_20_mb_survives_a_kill(self, bench: Bench) -> None:
        """A large document is a payload like any other."""
        blob = refs.blob(noise(LARGE_BYTES))
        await bench.payloads.put("r", [blob])
        again = await bench.reopen()
        assert refs.digest(again.read("r", blob.digest)) == blob.digest

    async def test_what_is_there_is_not_written_again(self, bench: Bench) -> None:
        """Payloads are immutable: the first body under a digest stays."""
        for first in (b"first", noise(100_000, 1)):
            digest = refs.digest(first)
            await bench.payloads.put("r", [refs.Blob(digest, first)])
            await bench.payloads.put("r", [refs.Blob(digest, first[::-1])])
            assert bench.payloads.read("r", digest) == first
        assert (await bench.reopen()).read("r", refs.digest(b"first")) == b"first"

    async def test_the_same_payload_twice_in_one_put_is_one(self, bench: Bench) -> None:
        """A message may hold a value twice."""
        blobs = [refs.blob(b"same"), refs.blob(noise(70_000)), refs.blob(b"same"), refs.blob(noise(70_000))]
        await bench.payloads.put("r", blobs)
        assert [bench.payloads.read("r", blob.digest) for blob in blobs] == [blob.body for blob in blobs]

    async def test_nothing_to_put_is_no_error(self, bench: Bench) -> None:
        """A value without blobs has none to store."""
        await bench.payloads.put("r", [])
        await bench.payloads.put("r", iter(()))

    async def test_any_iterable_is_put_whole(self, bench: Bench) -> None:
        """Its blobs are taken once."""
        bodies = [b"one", noise(70_000), b"two"]
        await bench.payloads.put("r", (refs.blob(body) for body in bodies))
        assert [bench.payloads.read("r", refs.digest(body)) for body in bodies] == bodies

    async def test_many_payloads_at_once_are_all_there(self, bench: Bench) -> None:
        """One put takes as many as a superstep gives."""
        blobs = [refs.blob(b"body %d" % number) for number in range(CROWD)]
        blobs += [refs.blob(noise(66_000, number)) for number in range(20)]
        await bench.payloads.put("r", blobs)
        again = await bench.reopen()
        assert [again.read("r", blob.digest) for blob in blobs] == [blob.body for blob in blobs]

    async def test_a_missing_payload_is_named(self, bench: Bench) -> None:
        """Never an empty body for what is not there."""
        assert_missing(bench.payloads, "r", refs.digest(b"nobody put this"))
        await bench.payloads.put("r", [refs.blob(b"")])
        assert_missing(bench.payloads, "r", b"")
        assert_missing(bench.payloads, "r", refs.digest(b"nor this"))

    async def test_each_owner_has_only_what_is_its_own(self, bench: Bench) -> None:
        """The same payload may belong to several; having one is no claim on another's."""
        blob = refs.blob(b"shared")
        await bench.payloads.put("a", [blob])
        assert_missing(bench.payloads, "b", blob.digest)
        await bench.payloads.put("b", [blob])
        await bench.payloads.purge("a")
        assert_missing(bench.payloads, "a", blob.digest)
        assert bench.payloads.read("b", blob.digest) == b"shared"

    @pytest.mark.parametrize("purged", ODD_OWNERS)
    async def test_purging_deletes_all_of_an_owner_and_nothing_else(self, bench: Bench, purged: str) -> None:
        """An owner's name is text, not a pattern; the deletion survives a kill."""
        bodies = [b"small", noise(70_000)]
        for owner in ODD_OWNERS:
            await bench.payloads.put(owner, map(refs.blob, bodies))
        await bench.payloads.purge(purged)
        again = await bench.reopen()
        for owner in ODD_OWNERS:
            for body in bodies:
                if owner == purged:
                    assert_missing(again, owner, refs.digest(body))
                else:
                    assert again.read(owner, refs.digest(body)) == body

    async def test_purging_who_has_nothing_is_no_error(self, bench: Bench) -> None:
        """Nor is purging twice."""
        await bench.payloads.purge("nobody")
        await bench.payloads.put("r", [refs.blob(b"x")])
        await bench.payloads.purge("r")
        await bench.payloads.purge("r")

    async def test_what_was_purged_may_be_put_again(self, bench: Bench) -> None:
        """A run's id is free once it is purged."""
        blobs = [refs.blob(b"small"), refs.blob(noise(70_000))]
        await bench.payloads.put("r", blobs)
        await bench.payloads.purge("r")
        await bench.payloads.put("r", blobs)
        again = await bench.reopen()
        assert [again.read("r", blob.digest) for blob in blobs] == [blob.body for blob in blobs]

    @pytest.mark.parametrize("size", [100, 100_000])
    async def test_the_same_payload_may_be_put_by_many_at_once(self, bench: Bench, size: int) -> None:
        """Siblings of a superstep often store the same value."""
        blob = refs.blob(noise(size))
        await asyncio.gather(*(bench.payloads.put("r", [blob]) for _ in range(32)))
        assert bench.payloads.read("r", blob.digest) == blob.body
        assert (await bench.reopen()).read("r", blob.digest) == blob.body

    async def test_puts_at_once_do_not_disturb_each_other(self, bench: Bench) -> None:
        """Each finds all of its own when it returns."""

        async def put(number: int) -> None:
            owner = f"r{number % 5}"
            blobs = [refs.blob(b"%d" % number), refs.blob(noise(66_000, number))]
            await bench.payloads.put(owner, blobs)
            assert [bench.payloads.read(owner, blob.digest) for blob in blobs] == [blob.body for blob in blobs]

        await asyncio.gather(*(put(number) for number in range(40)))

    async def test_payloads_are_read_from_any_thread_while_others_are_put(self, bench: Bench) -> None:
        """Readers wait for no writer and for no loop."""
        blobs = [refs.blob(b"small"), refs.blob(noise(200_000))]
        await bench.payloads.put("r", blobs)

        def read() -> bool:
            return all(bench.payloads.read("r", blob.digest) == blob.body for blob in blobs * 20)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            reading = [asyncio.wrap_future(pool.submit(read)) for _ in range(4)]
            for number in range(20):
                await bench.payloads.put("other", [refs.blob(b"%d" % number), refs.blob(noise(66_000, number))])
            assert all(await asyncio.gather(*reading))

    async def test_missing_payloads_are_named_in_any_thread(self, bench: Bench) -> None:
        """The error is the same there."""
        await asyncio.to_thread(assert_missing, bench.payloads, "r", refs.digest(b"nothing"))
