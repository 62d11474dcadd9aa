"""What survives a kill."""

from __future__ import annotations

import pytest

from perdure.routes import runs as store
from perdure.testing.conformance.runs.bench import Bench


class KillsSuite:
    """What survives a kill."""

    pytestmark = pytest.mark.asyncio

    async def test_an_accepted_start_survives_a_kill(self, bench: Bench) -> None:
        """The run goes on, with its input, and its id stays taken."""
        text = "x" * 100_000
        await bench.start("echo", "r1", text)
        await bench.start("gated", "r2")
        bench = await bench.killed()
        assert (await bench.start("gated", "r2"))[1] is False
        bench.release()
        assert (await bench.ended("r1")).output == [text]
        assert (await bench.ended("r2")).output == ["opened"]

    async def test_what_ended_survives_a_kill(self, bench: Bench) -> None:
        """Outputs, reasons, times and events are what they were."""
        for workflow, run_id in (("echo", "r1"), ("failing", "r2"), ("gated", "r3")):
            await bench.start(workflow, run_id)
        await bench.runs.terminate("r3", "enough")
        ended = [await bench.ended(run_id) for run_id in ("r1", "r2", "r3")]
        events = [list(await bench.runs.events(run_id)) for run_id in ("r1", "r2", "r3")]
        bench = await bench.killed()
        assert [await bench.runs.get(run_id) for run_id in ("r1", "r2", "r3")] == ended
        assert [list(await bench.runs.events(run_id)) for run_id in ("r1", "r2", "r3")] == events

    async def test_an_event_that_was_seen_never_un_happens(self, bench: Bench) -> None:
        """A follower goes on after a kill where it left; ids have no gaps."""
        await bench.start("gated", "r1")
        seen: list[store.Event] = []
        async for event in bench.runs.follow("r1"):
            seen.append(event)
            break
        bench = await bench.killed()
        bench.release()
        seen += await bench.followed("r1", after=seen[-1].id)
        assert [event.id for event in seen] == list(range(1, len(seen) + 1))
        assert seen == list(await bench.runs.events("r1"))

    async def test_a_request_and_its_answer_survive_a_kill(self, bench: Bench) -> None:
        """The request is the same after it; an accepted answer is not asked for again."""
        for run_id in ("r1", "r2"):
            await bench.start("asking", run_id)
        asked = [await bench.asked(run_id) for run_id in ("r1", "r2")]
        assert await bench.answer("r2", asked[1].id, b"2") == "accepted"
        bench = await bench.killed()
        assert await bench.asked("r1") == asked[0]
        assert await bench.answer("r1", asked[0].id, b"1") == "accepted"
        assert await bench.answer("r2", asked[1].id, b"3") == "answered"
        assert [(await bench.ended(run_id)).output for run_id in ("r1", "r2")] == [[1], [2]]

    async def test_a_withdrawal_survives_a_kill(self, bench: Bench) -> None:
        """The request is not open again, and the run ends."""
        await bench.start("asking", "r1")
        asked = await bench.asked("r1")
        assert await bench.runs.withdraw("r1", asked.id) == "accepted"
        bench = await bench.killed()
        assert await bench.answer("r1", asked.id, b"1") == "answered"
        assert (await bench.ended("r1")).output == []

    async def test_a_purge_survives_a_kill(self, bench: Bench) -> None:
        """Nothing of the run comes back."""
        await bench.start("echo", "r1", "x" * 100_000)
        await bench.ended("r1")
        assert await bench.runs.purge("r1")
        bench = await bench.killed()
        assert await bench.runs.get("r1") is None
        assert list(await bench.runs.events("r1")) == []
        assert (await bench.runs.query(store.Query())).runs == []
        assert (await bench.start("echo", "r1", "again"))[1]
        assert (await bench.ended("r1")).output == ["again"]
