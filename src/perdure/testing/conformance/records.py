"""What every back end of :class:`perdure.payloads.records.RecordStore` must do, as tests that any of them can run.

Subclass :class:`RecordsSuite` in a test module, with a fixture ``bench`` that gives a :class:`Bench`::

    class TestMine(RecordsSuite):
        @pytest.fixture
        async def bench(self) -> AsyncIterator[Bench]: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent import futures
from typing import NamedTuple

import pytest

from perdure.payloads import records

CROWD = 24
ODD_NAMES = (
    "answer/1",
    "answer/10",
    "answer/2",
    "ANSWER/1",
    "answer.",
    "answer%2F1",
    "läuft: 运行",
    "a b?c#d\\e",
    "n" * 300,
)


class Bench(NamedTuple):
    """A back end.

    Attributes:
        records: The store, empty.
        reopen: Stops it as if killed and gives it as a new process finds it; one that lives in memory gives itself.
    """

    records: records.RecordStore
    reopen: Callable[[], Awaitable[records.RecordStore]]


class RecordsSuite:
    """The suite. Each test bears its promise as its name."""

    pytestmark = pytest.mark.asyncio

    async def test_the_first_write_of_a_name_decides_and_stays(self, bench: Bench) -> None:
        """Also after a kill, also where the second body is the same."""
        assert await bench.records.put_if_absent("r", "start", b"first")
        assert not await bench.records.put_if_absent("r", "start", b"second")
        assert not await bench.records.put_if_absent("r", "start", b"first")
        again = await bench.reopen()
        assert not await again.put_if_absent("r", "start", b"third")
        assert await again.get("r", "start") == b"first"

    async def test_of_many_at_once_one_is_told_that_it_wrote(self, bench: Bench) -> None:
        """Fifty answers to one request are one."""
        told = await asyncio.gather(
            *(bench.records.put_if_absent("r", "answer", str(number).encode()) for number in range(CROWD))
        )
        assert sum(told) == 1
        assert await bench.records.get("r", "answer") == str(told.index(True)).encode()

    @pytest.mark.parametrize("body", [b"", b"\x00", b"x" * 200_000], ids=["empty", "zero", "large"])
    async def test_a_body_is_given_back_as_it_was(self, bench: Bench, body: bytes) -> None:
        """Whatever it is."""
        assert await bench.records.put_if_absent("r", "body", body)
        assert await (await bench.reopen()).get("r", "body") == body

    async def test_what_was_never_written_is_none(self, bench: Bench) -> None:
        """It is no error to ask."""
        assert await bench.records.get("r", "nothing") is None
        assert list(await bench.records.names("nobody")) == []

    async def test_names_are_text_and_no_patterns(self, bench: Bench) -> None:
        """Each is a name of its own."""
        for name in ODD_NAMES:
            assert await bench.records.put_if_absent("r", name, name.encode()), name
        for name in ODD_NAMES:
            assert await bench.records.get("r", name) == name.encode()
        assert list(await bench.records.names("r")) == sorted(ODD_NAMES, key=str.encode)

    async def test_names_are_listed_by_prefix_and_in_order(self, bench: Bench) -> None:
        """As many as there are, from where a reader stopped."""
        for number in (3, 1, 2, 11):
            await bench.records.put_if_absent("r", f"events/{number:06}", b"")
        await bench.records.put_if_absent("r", "events", b"")
        await bench.records.put_if_absent("r", "other/000001", b"")
        expected = [f"events/{number:06}" for number in (1, 2, 3, 11)]
        assert list(await bench.records.names("r", "events/")) == expected
        assert list(await bench.records.names("r", "events/", expected[1])) == expected[2:]
        assert list(await bench.records.names("r", "events/", expected[-1])) == []

    async def test_each_owner_has_only_its_own(self, bench: Bench) -> None:
        """An owner whose name begins with another's is somebody else."""
        for owner in ("run", "run1", "run/1", "RUN"):
            assert await bench.records.put_if_absent(owner, "start", owner.encode())
        await bench.records.forget("run")
        assert await bench.records.get("run", "start") is None
        for owner in ("run1", "run/1", "RUN"):
            assert await bench.records.get(owner, "start") == owner.encode()

    async def test_a_forgotten_name_is_free_again(self, bench: Bench) -> None:
        """Forgetting twice, or who was never there, is no error."""
        await bench.records.forget("r")
        await bench.records.put_if_absent("r", "start", b"first")
        await bench.records.forget("r")
        await bench.records.forget("r")
        assert await bench.records.put_if_absent("r", "start", b"second")
        assert await (await bench.reopen()).get("r", "start") == b"second"

    async def test_a_record_that_fits_is_removed_and_its_name_is_free_again(self, bench: Bench) -> None:
        """Any other stays; one that is not there is no error."""
        for name in ("start", "other"):
            await bench.records.put_if_absent("r", name, b"first")
        await bench.records.remove("r", "start", lambda body: body == b"second")
        await bench.records.remove("r", "nothing")
        await bench.records.remove("nobody", "start")
        assert list(await bench.records.names("r")) == ["other", "start"]
        await bench.records.remove("r", "start", lambda body: body == b"first")
        await bench.records.remove("r", "start", lambda body: body == b"first")
        assert list(await bench.records.names("r")) == ["other"]
        assert await bench.records.put_if_absent("r", "start", b"second")
        assert await (await bench.reopen()).get("r", "start") == b"second"

    async def test_what_takes_the_place_of_a_record_that_is_being_removed_stays(self, bench: Bench) -> None:
        """Another has removed that one meanwhile, and written the next."""
        with futures.ThreadPoolExecutor(1) as another:
            meanwhile = [self._replace(bench)]

            def fits(body: bytes) -> bool:
                if meanwhile:
                    another.submit(asyncio.run, meanwhile.pop()).result()
                return body == b"first"

            await bench.records.put_if_absent("r", "start", b"first")
            await bench.records.remove("r", "start", fits)
        assert await bench.records.get("r", "start") == b"second"

    @staticmethod
    async def _replace(bench: Bench) -> None:
        await bench.records.remove("r", "start")
        assert await bench.records.put_if_absent("r", "start", b"second")

    async def test_what_is_to_be_forgotten_last_is_there_while_anything_else_is(self, bench: Bench) -> None:
        """Whoever looks while records are deleted, or after that was broken off, knows by it that some are left."""
        last = ["a start", "a mark"]
        for name in (*last, *(f"record {number}" for number in range(CROWD * 4))):
            await bench.records.put_if_absent("r", name, b"")
        forgetting = asyncio.ensure_future(bench.records.forget("r", last))
        while not forgetting.done():
            await asyncio.sleep(0)
            gone = [name for name in last if await bench.records.get("r", name) is None]
            left = set(await bench.records.names("r"))
            assert left <= set(last) - set(gone) if gone else True, (gone, left)
        await forgetting
        assert list(await bench.records.names("r")) == []
        await bench.records.forget("r", last)
