"""What becomes of the answers to a run's requests."""

from __future__ import annotations

import asyncio

import pytest

from perdure import errors
from perdure.testing.conformance.runs.bench import Bench


class AnswersSuite:
    """What becomes of the answers to a run's requests."""

    pytestmark = pytest.mark.asyncio

    async def test_a_request_tells_what_is_asked(self, bench: Bench) -> None:
        """Its data as plain JSON, its types by name, a schema of the answer; there are none after the end."""
        await bench.start("asking", "r1", "how many?")
        asked = await bench.asked("r1")
        assert asked.data == "how many?"
        assert (asked.request_type, asked.response_type) == ("builtins:str", "builtins:int")
        assert asked.schema["type"] == "integer"
        assert await bench.answer("r1", asked.id, b"7") == "accepted"
        done = await bench.ended("r1")
        assert (done.output, done.requests) == ([7], ())

    async def test_a_request_takes_one_answer(self, bench: Bench) -> None:
        """Whoever comes later is told so, also after the end."""
        await bench.start("asking", "r1")
        asked = await bench.asked("r1")
        told = await asyncio.gather(*(bench.answer("r1", asked.id, b"%d" % number) for number in range(5)))
        assert sorted(told) == ["accepted"] + ["answered"] * 4
        assert (await bench.ended("r1")).output == [told.index("accepted")]
        assert await bench.answer("r1", asked.id, b"9") == "answered"

    async def test_an_answer_to_nobody_is_refused(self, bench: Bench) -> None:
        """An unknown run, an unknown request, or another run's."""
        await bench.start("asking", "r1")
        await bench.start("echo", "r2")
        asked = await bench.asked("r1")
        await bench.ended("r2")
        assert await bench.answer("nope", asked.id, b"1") == "unknown"
        assert await bench.answer("r1", "nope", b"1") == "unknown"
        assert await bench.answer("r2", asked.id, b"1") == "unknown"
        assert await bench.asked("r1") == asked

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", errors.EmptyInput),
            (b"{", errors.MalformedInput),
            (b'"7"', errors.InvalidInput),
            (b"7.5", errors.InvalidInput),
            (b"null", errors.InvalidInput),
        ],
    )
    async def test_a_wrong_answer_consumes_nothing(self, bench: Bench, body: bytes, error: type[Exception]) -> None:
        """The request stays open and takes a right one."""
        await bench.start("asking", "r1")
        asked = await bench.asked("r1")
        with pytest.raises(error):
            await bench.answer("r1", asked.id, body)
        assert await bench.asked("r1") == asked
        assert await bench.answer("r1", asked.id, b"7") == "accepted"
        assert (await bench.ended("r1")).output == [7]

    async def test_a_request_is_withdrawn_once(self, bench: Bench) -> None:
        """It takes no answer any more, an event says so, and the run goes on without."""
        await bench.start("asking", "r1")
        asked = await bench.asked("r1")
        told = await asyncio.gather(*(bench.runs.withdraw("r1", asked.id) for _ in range(5)))
        assert sorted(told) == ["accepted"] + ["answered"] * 4
        assert await bench.answer("r1", asked.id, b"7") == "answered"
        done = await bench.ended("r1")
        assert (done.status, done.output, done.requests) == ("Completed", [], ())
        events = [event for event in await bench.runs.events("r1") if event.type == "request_withdrawn"]
        assert [event.data["requestId"] for event in events] == [asked.id]

    async def test_a_request_is_answered_or_withdrawn_but_not_both(self, bench: Bench) -> None:
        """Whichever came first."""
        await bench.start("asking", "r1")
        asked = await bench.asked("r1")
        told = await asyncio.gather(bench.answer("r1", asked.id, b"7"), bench.runs.withdraw("r1", asked.id))
        assert sorted(told) == ["accepted", "answered"]
        assert (await bench.ended("r1")).output == ([7] if told[0] == "accepted" else [])
        assert await bench.runs.withdraw("r1", asked.id) == "answered"

    async def test_what_nobody_asked_is_not_withdrawn(self, bench: Bench) -> None:
        """An unknown run, an unknown request, or another run's."""
        await bench.start("asking", "r1")
        await bench.start("echo", "r2")
        asked = await bench.asked("r1")
        await bench.ended("r2")
        assert await bench.runs.withdraw("nope", asked.id) == "unknown"
        assert await bench.runs.withdraw("r1", "nope") == "unknown"
        assert await bench.runs.withdraw("r2", asked.id) == "unknown"
        assert await bench.asked("r1") == asked

    async def test_a_terminated_run_takes_no_answer(self, bench: Bench) -> None:
        """It stays as it ended."""
        await bench.start("asking", "r1")
        asked = await bench.asked("r1")
        await bench.runs.terminate("r1", "enough")
        assert await bench.answer("r1", asked.id, b"7") != "accepted"
        done = await bench.ended("r1")
        assert (done.status, done.requests) == ("Terminated", ())
