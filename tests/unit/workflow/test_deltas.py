from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator

import pytest

from perdure.workflow import deltas


class Log:
    """Records that come when they are put there, and who speaks between them."""

    def __init__(self, *there: int) -> None:
        self.last = there[-1] if there else 0
        self.said: deltas.Deltas[str] = deltas.Deltas()
        self._records: asyncio.Queue[int] = asyncio.Queue()
        for number in there:
            self._records.put_nowait(number)

    def record(self, number: int) -> None:
        self.last = number
        self._records.put_nowait(number)

    def say(self, word: str) -> None:
        self.said.say("run", lambda: word)

    async def read(self) -> AsyncIterator[int]:
        while number := await self._records.get():
            yield number

    def end(self) -> None:
        self._records.put_nowait(0)


async def _all(log: Log, listener: deltas.Listener[str], after: int = 0) -> list[int | str]:
    return [item async for item in deltas.among(log.read(), listener, lambda number: number, after)]


async def test_who_comes_late_hears_what_is_said_after_the_records_of_long_ago() -> None:
    log = Log(1, 2, 3)
    with log.said.listen("run", lambda: log.last) as listener:
        log.say("now")
        log.end()
        assert await _all(log, listener) == [1, 2, 3, "now"]


async def test_what_is_said_stands_before_the_record_of_it_however_slow_the_reader() -> None:
    log = Log(1)
    with log.said.listen("run", lambda: log.last) as listener:
        log.say("one")
        log.say("whole")
        log.record(2)
        log.record(3)
        log.say("another")
        log.record(4)
        log.end()
        assert await _all(log, listener) == [1, "one", "whole", 2, 3, "another", 4]


async def test_what_is_said_is_given_at_once_where_all_before_it_was_given() -> None:
    log = Log()
    log.last = 7
    with log.said.listen("run", lambda: log.last) as listener:
        among = deltas.among(log.read(), listener, lambda number: number, 7)
        log.say("one")
        assert await anext(among) == "one"
        waiting = asyncio.ensure_future(anext(among))
        await asyncio.sleep(0)
        log.say("two")
        assert await waiting == "two"
        log.record(8)
        assert await anext(among) == 8
        await among.aclose()


async def test_nothing_is_made_where_nobody_listens() -> None:
    said: deltas.Deltas[str] = deltas.Deltas()
    said.say("run", lambda: pytest.fail("made"))
    with said.listen("other") as listener:
        said.say("run", lambda: pytest.fail("made"))
        assert listener.take() == []


async def test_of_too_much_that_is_unheard_the_oldest_is_forgotten() -> None:
    said: deltas.Deltas[int] = deltas.Deltas()
    with said.listen("run") as listener:
        for number in range(deltas.UNHEARD_LIMIT + 2):
            said.say("run", functools.partial(int, number))
        assert listener.take()[0] == 2
