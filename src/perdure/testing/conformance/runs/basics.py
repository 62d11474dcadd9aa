"""How runs start, end, are listed and followed."""

from __future__ import annotations

import asyncio

import pytest

from perdure import errors
from perdure.routes import runs as store
from perdure.testing.conformance.runs.bench import PATIENCE_SECONDS, Bench
from perdure.workflow import options


class BasicsSuite:
    """How runs start, end, are listed and followed."""

    pytestmark = pytest.mark.asyncio

    async def test_a_run_completes_with_its_outputs(self, bench: Bench) -> None:
        """Its output is the list of outputs as plain JSON."""
        run, new = await bench.start("echo", "r1")
        assert new
        assert (run.id, run.workflow) == ("r1", "echo")
        done = await bench.ended("r1")
        assert done.status == "Completed"
        assert done.output == ["hello"]
        assert done.failure is None
        assert done.updated >= done.created > 0

    async def test_a_run_fails_with_the_reason(self, bench: Bench) -> None:
        """The exception's type and text are told."""
        await bench.start("failing", "r1")
        done = await bench.ended("r1")
        assert done.status == "Failed"
        assert done.output is None
        assert done.failure is not None
        assert (done.failure.type, done.failure.message) == ("ValueError", "no")

    async def test_an_id_starts_one_run_only(self, bench: Bench) -> None:
        """The second start gives the first one's run, whatever its input."""
        await bench.start("echo", "r1", "one")
        again, new = await bench.start("echo", "r1", "two")
        assert not new
        assert again.input_digest == options.digest(bench.accept("echo", "one")[0])
        assert (await bench.ended("r1")).output == ["one"]
        assert (await bench.start("gated", "r1"))[0].workflow == "echo"

    async def test_options_are_part_of_what_a_run_was_started_with(self, bench: Bench) -> None:
        """Another start with the same id, input and options is known from one with other options."""
        value, blobs = bench.accept("echo", "one")
        given = options.RunOptions(stream=True)
        await bench.runs.start("echo", "r1", value, blobs, given=given)
        again, _ = await bench.runs.start("echo", "r1", value, blobs, given=given, wait=5)
        assert again.status == "Completed"
        assert again.input_digest == options.digest(value, given) != options.digest(value)

    async def test_starts_of_one_id_at_once_agree(self, bench: Bench) -> None:
        """Exactly one of them is new."""
        started = await asyncio.gather(*(bench.start("echo", "r1", "same") for _ in range(8)))
        assert [new for _, new in started].count(True) == 1
        assert {run.id for run, _ in started} == {"r1"}

    async def test_a_large_input_is_known_by_its_digest(self, bench: Bench) -> None:
        """A stored input is compared like an inline one."""
        text = "x" * 100_000
        await bench.start("echo", "r1", text)
        assert (await bench.ended("r1")).output == [text]
        again, _ = await bench.start("echo", "r1", "another")
        assert again.input_digest == options.digest(bench.accept("echo", text)[0])

    async def test_an_unknown_run_is_none(self, bench: Bench) -> None:
        """Nothing is made up for an id that no run has."""
        assert await bench.runs.get("nope") is None
        assert await bench.runs.wait("nope", 0.01) is None
        assert list(await bench.runs.events("nope")) == []
        assert await bench.followed("nope") == []

    async def test_a_wait_ends_when_the_run_does(self, bench: Bench) -> None:
        """Waiting is pushed: it needs no further question."""
        await bench.start("gated", "r1")
        waiting = asyncio.create_task(bench.runs.wait("r1", PATIENCE_SECONDS))
        bench.release()
        run = await waiting
        assert run is not None
        assert run.status == "Completed"

    async def test_a_wait_that_runs_out_gives_the_run_as_it_stands(self, bench: Bench) -> None:
        """A run that still works is Running."""
        await bench.start("gated", "r1")
        run = await bench.runs.wait("r1", 0.05)
        assert run is not None
        assert run.status in ("Pending", "Running")

    async def test_a_start_may_wait_for_the_end(self, bench: Bench) -> None:
        """Whether the run is new or was there with the same input; a run of another input is not waited for."""
        run, new = await bench.start("echo", "r1", wait=PATIENCE_SECONDS)
        assert (new, run.status, run.output) == (True, "Completed", ["hello"])
        again = await bench.start("echo", "r1", wait=PATIENCE_SECONDS)
        assert again == (run, False)
        assert (await bench.start("gated", "r2", wait=0.05))[0].status in ("Pending", "Running")
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            other, new = await bench.start("gated", "r2", "another", wait=PATIENCE_SECONDS)
        assert (new, other.status) == (False, "Running")
        waiting = asyncio.create_task(bench.start("gated", "r2", wait=PATIENCE_SECONDS))
        bench.release()
        assert (await waiting)[0].output == ["opened"]

    async def test_events_are_numbered_from_one_without_gaps(self, bench: Bench) -> None:
        """Pages and the stream give the same events."""
        await bench.start("echo", "r1")
        followed = await bench.followed("r1")
        assert [event.id for event in followed] == list(range(1, len(followed) + 1))
        assert list(await bench.runs.events("r1")) == followed
        assert list(await bench.runs.events("r1", after=1, limit=1)) == followed[1:2]
        assert list(await bench.runs.events("r1", after=len(followed))) == []

    async def test_a_follower_goes_on_where_it_left(self, bench: Bench) -> None:
        """Nothing is missing, nothing comes twice."""
        await bench.start("echo", "r1")
        everything = await bench.followed("r1")
        assert await bench.followed("r1", after=2) == everything[2:]
        assert await bench.followed("r1", after=len(everything)) == []

    async def test_a_follower_sees_what_comes_and_ends_with_the_run(self, bench: Bench) -> None:
        """Followers of a live run are told at once."""
        await bench.start("gated", "r1")
        seen: list[store.Event] = []
        first = asyncio.Event()

        async def follow() -> None:
            async for event in bench.runs.follow("r1"):
                seen.append(event)
                first.set()

        following = asyncio.create_task(follow())
        await asyncio.wait_for(first.wait(), PATIENCE_SECONDS)
        bench.release()
        await asyncio.wait_for(following, PATIENCE_SECONDS)
        assert seen == list(await bench.runs.events("r1"))

    async def test_a_terminated_run_stays_terminated(self, bench: Bench) -> None:
        """Its reason is told, and its work stops."""
        await bench.start("gated", "r1")
        assert await bench.runs.terminate("r1", "enough")
        run = await bench.ended("r1")
        assert run.status == "Terminated"
        assert run.failure is not None
        assert run.failure.message == "enough"
        assert not await bench.runs.terminate("r1", "again")
        bench.release()
        assert (await bench.ended("r1")).status == "Terminated"
        assert await bench.followed("r1") == list(await bench.runs.events("r1"))

    async def test_what_ended_or_is_unknown_cannot_be_terminated(self, bench: Bench) -> None:
        """An outcome never changes."""
        await bench.start("echo", "r1")
        await bench.ended("r1")
        assert not await bench.runs.terminate("r1", "late")
        assert (await bench.ended("r1")).status == "Completed"
        assert not await bench.runs.terminate("nope", "what")

    async def test_only_an_ended_run_is_purged(self, bench: Bench) -> None:
        """Afterwards its id is free."""
        await bench.start("gated", "r1")
        assert not await bench.runs.purge("r1")
        await bench.runs.terminate("r1", "enough")
        assert await bench.runs.purge("r1")
        assert await bench.runs.get("r1") is None
        assert list(await bench.runs.events("r1")) == []
        assert not await bench.runs.purge("r1")
        _, new = await bench.start("echo", "r1")
        assert new

    async def test_runs_are_listed_by_what_was_asked(self, bench: Bench) -> None:
        """Workflow, status, prefix and time of creation all narrow the list."""
        for workflow, run_id in (("echo", "a1"), ("echo", "b1"), ("failing", "a2"), ("gated", "b2")):
            await bench.start(workflow, run_id)
        done = [await bench.ended(run_id) for run_id in ("a1", "b1", "a2")]

        async def ids(**asked: object) -> set[str]:
            page = await bench.runs.query(store.Query(**asked))  # type: ignore[arg-type]  # a test's keywords
            return {run.id for run in page.runs}

        assert await ids() == {"a1", "b1", "a2", "b2"}
        assert await ids(workflow="echo") == {"a1", "b1"}
        assert await ids(statuses=("Completed", "Failed")) == {"a1", "b1", "a2"}
        assert await ids(prefix="a") == {"a1", "a2"}
        assert await ids(workflow="echo", prefix="b", statuses=("Completed",)) == {"b1"}
        assert await ids(created_from=max(run.created for run in done) + 3600) == set()
        assert await ids(created_to=min(run.created for run in done)) == set()
        assert "a1" in await ids(created_from=done[0].created)

    @pytest.mark.parametrize("prefix", ["", "p_%"])
    async def test_pages_give_every_run_once_newest_first(self, bench: Bench, prefix: str) -> None:
        """A prefix is text, not a pattern."""
        expected = [f"{prefix}{number}" for number in range(7)]
        for run_id in expected:
            await bench.start("echo", run_id)
        if prefix:
            await bench.start("echo", "pxx1")
        found: list[store.Run] = []
        cursor: str | None = None
        while True:
            page = await bench.runs.query(store.Query(prefix=prefix, limit=3, cursor=cursor))
            found += page.runs
            cursor = page.cursor
            if cursor is None:
                break
            assert len(page.runs) == 3
        assert sorted(run.id for run in found) == expected
        assert [run.created for run in found] == sorted((run.created for run in found), reverse=True)

    async def test_a_made_up_cursor_is_refused(self, bench: Bench) -> None:
        """It is no silent empty page."""
        with pytest.raises(errors.UsageError):
            await bench.runs.query(store.Query(cursor="made up"))

    async def test_it_is_healthy(self, bench: Bench) -> None:
        """A back end that takes runs says so."""
        assert await bench.runs.trouble() is None

    async def test_runs_at_once_do_not_disturb_each_other(self, bench: Bench) -> None:
        """Each ends with its own."""
        await asyncio.gather(*(bench.start("echo", f"r{number}", f"text {number}") for number in range(20)))
        ended = await asyncio.gather(*(bench.ended(f"r{number}") for number in range(20)))
        assert [run.output for run in ended] == [[f"text {number}"] for number in range(20)]

    async def test_a_client_that_stops_waiting_disturbs_nobody(self, bench: Bench) -> None:
        """Neither the run nor others that wait for it or follow it."""
        await bench.start("gated", "r1")
        waiting = asyncio.create_task(bench.ended("r1"))
        following = asyncio.create_task(bench.followed("r1"))
        left = [asyncio.create_task(bench.ended("r1")), asyncio.create_task(bench.followed("r1"))]
        async for _ in bench.runs.follow("r1"):
            break
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        bench.release()
        assert (await waiting).output == ["opened"]
        assert await following == list(await bench.runs.events("r1"))
