"""What it takes of the store to follow the log of a run."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import pytest

from perdure.hosts.replay import log, wire
from perdure.payloads import records

PAGES = 300
A_PAGE = 3
EVENTS = PAGES * A_PAGE


class Counting(records.MemoryRecordStore):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: collections.Counter[str] = collections.Counter()

    async def get(self, owner: str, name: str) -> bytes | None:
        self.asked["get"] += 1
        return await super().get(owner, name)

    async def names(self, owner: str, prefix: str = "", after: str = "") -> Sequence[str]:
        self.asked["names"] += 1
        return await super().names(owner, prefix, after)


def page(number: int) -> wire.Page:
    first = number * A_PAGE + 1
    return wire.Page(first, tuple((0.0, b"%d" % id) for id in range(first, first + A_PAGE)))


@pytest.fixture
def store() -> Counting:
    return Counting()


async def written(store: Counting) -> log.Log:
    told = log.Log(store)
    await told.write("run", map(page, range(PAGES)))
    return told


def ids(found: Sequence[log.Event]) -> list[int]:
    return [event.id for event in found]


async def test_following_a_run_asks_for_each_of_its_pages_once_and_for_nothing_else(store: Counting) -> None:
    told = log.Log(store)
    reader = told.reader("run")
    seen: list[int] = []
    for number in range(PAGES):
        await told.write("run", [page(number)])
        following = (number + 1) * A_PAGE + 1
        seen += ids(await reader.read(EVENTS, (), following))
        assert await reader.read(EVENTS, (), following) == []
    assert seen == [*range(1, EVENTS + 1)]
    assert store.asked == {"get": PAGES}


async def test_following_a_run_that_does_not_say_how_far_it_is_costs_one_look_more_each_time(store: Counting) -> None:
    told = log.Log(store)
    reader = told.reader("run")
    for number in range(PAGES):
        await told.write("run", [page(number)])
        assert len(await reader.read(EVENTS)) == A_PAGE
    assert store.asked == {"get": 2 * PAGES}


async def test_a_long_log_is_read_from_its_beginning_with_one_list(store: Counting) -> None:
    told = await written(store)
    assert ids(await told.read("run", 0, EVENTS)) == [*range(1, EVENTS + 1)]
    assert store.asked == {"get": PAGES, "names": 1}


@pytest.mark.parametrize("after", [150, 151, 152])
async def test_who_comes_back_finds_its_place_with_one_list_at_most(store: Counting, after: int) -> None:
    told = await written(store)
    reader = told.reader("run", after)
    assert ids(await reader.read(5)) == [*range(after + 1, after + 6)]
    assert store.asked["names"] == (after % A_PAGE > 0)
    rest = ids(await reader.read(2 * log.CHAINED))
    assert rest == [*range(after + 6, after + 6 + 2 * log.CHAINED)]
    assert store.asked["names"] == (after % A_PAGE > 0), "its place is kept"
