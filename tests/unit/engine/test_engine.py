from __future__ import annotations

import asyncio
import pathlib
import threading
import time

import apsw
import pytest

from perdure import errors
from perdure.engine import engine, hub, instance
from perdure.payloads import refs
from perdure.workflow import protocol

from . import lab


async def test_an_instance_runs_to_its_end_and_its_view_says_so(bench: lab.Lab) -> None:
    view, new = await bench.engine.begin("chain", "a", b"5", input_digest=b"in", definition=b"def")
    assert new and view.status == "Running"
    view = await bench.ended("a")
    assert (view.status, view.output, view.input_digest, view.definition) == (
        "Completed",
        lab.encode(10),
        b"in",
        b"def",
    )
    assert bench.engine.view("a") == view
    assert [key for _, key in bench.ran] == ["s0", "s1", "s2", "s3", "s4"]


async def test_starting_an_id_again_gives_the_instance_that_is_there(bench: lab.Lab) -> None:
    begun = await asyncio.gather(*(bench.engine.begin("awaiting", "a", b"1") for _ in range(3)))
    assert [new for _, new in begun] == [True, False, False]
    assert all(view.id == "a" for view, _ in begun)
    await bench.restart()
    assert (await bench.engine.begin("awaiting", "a", b"1"))[1] is False


async def test_an_unknown_orchestrator_is_refused_with_the_names_there_are(bench: lab.Lab) -> None:
    with pytest.raises(errors.UsageError, match="awaiting, chain"):
        await bench.engine.begin("chian", "a", b"")


async def test_a_crash_loses_no_landing_and_runs_none_again(bench: lab.Lab) -> None:
    gate = lab.Gate()

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("one", "same", 1)
        first = yield
        host.emit(b"one")
        host.activity("two", "gate", 2)
        second = yield
        host.emit(b"two")
        return protocol.Ended(output=lab.encode([first.value, second.value]))

    bench.program("two", program)
    bench.activity("gate", gate)
    await bench.engine.begin("two", "a", b"")
    await gate.entered.wait()
    await bench.crash()
    assert [event.data for event in bench.engine.events("a")] == [b"one"]
    gate.open.set()
    assert (await bench.ended("a")).output == lab.encode([1, 2])
    assert bench.ran == [("a", "one"), ("a", "two"), ("a", "two")]
    assert [(event.id, event.data) for event in bench.engine.events("a")] == [(1, b"one"), (2, b"two")]


async def test_an_attempt_after_a_crash_is_counted(bench: lab.Lab) -> None:
    from perdure.engine import reader, records

    gate = lab.Gate()
    bench.activity("same", gate)
    await bench.engine.begin("chain", "a", b"1")
    await gate.entered.wait()
    gate.entered.clear()
    await bench.crash()
    await gate.entered.wait()
    gate.open.set()
    await bench.ended("a")
    readers: reader.Readers = bench.engine._readers
    rows = readers.rows("select_history", (1, 0))
    assert [records.decode_record(row[3]).attempt for row in rows] == [2]


async def test_closing_parks_what_runs_and_the_next_start_goes_on(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.activity("same", gate)
    await bench.engine.begin("chain", "a", b"2")
    await gate.entered.wait()
    gate.open.set()
    await bench.restart()
    assert (await bench.ended("a")).output == lab.encode(1)


async def test_draining_waits_for_what_runs_and_starts_nothing_more(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.activity("same", gate)
    await bench.engine.begin("chain", "a", b"2")
    await gate.entered.wait()
    draining = asyncio.create_task(bench.engine.drain(lab.PATIENCE_SECONDS))
    await asyncio.sleep(0)
    with pytest.raises(errors.HubError, match="shutting down"):
        await bench.engine.begin("chain", "b", b"2")
    gate.open.set()
    await draining
    assert [key for _, key in bench.ran] == ["s0"]
    await bench.restart()
    await bench.ended("a")
    assert [key for _, key in bench.ran] == ["s0", "s1"]


async def test_an_activity_that_raises_lands_as_a_failure_with_the_users_frames(bench: lab.Lab) -> None:
    async def broken(call: object) -> object:
        raise ValueError("no good")

    bench.activity("same", broken)
    await bench.engine.begin("chain", "a", b"2")
    view = await bench.ended("a")
    assert view.status == "Failed" and view.failure is not None
    assert (view.failure.type, view.failure.message) == ("ValueError", "no good")
    assert "in broken" in view.failure.detail and "core.py" not in view.failure.detail


async def test_an_orchestrator_that_raises_fails_its_instance_only(bench: lab.Lab) -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("one", "same", 1)
        yield
        raise KeyError("lost")

    bench.program("broken", program)
    await bench.engine.begin("chain", "b", b"3")
    await bench.engine.begin("broken", "a", b"")
    failed = await bench.ended("a")
    assert failed.failure is not None and failed.failure.type == "KeyError"
    assert (await bench.ended("b")).status == "Completed"


async def test_an_activity_without_a_name_here_lands_as_a_failure(bench: lab.Lab) -> None:
    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("one", "nowhere", 1)
        landed = yield
        return protocol.Ended(failure=landed.value)

    bench.program("lost", program)
    await bench.engine.begin("lost", "a", b"")
    view = await bench.ended("a")
    assert view.failure is not None and "nowhere" in view.failure.message


async def test_terminating_cancels_what_runs_and_is_final(bench: lab.Lab) -> None:
    gate = lab.Gate()
    cancelled = asyncio.Event()

    async def stuck(call: object) -> object:
        try:
            return await gate(call)
        finally:
            cancelled.set()

    bench.activity("same", stuck)
    await bench.engine.begin("chain", "a", b"2")
    await gate.entered.wait()
    assert await bench.engine.terminate("a", "enough") is True
    await asyncio.wait_for(cancelled.wait(), lab.PATIENCE_SECONDS)
    view = bench.engine.view("a")
    assert view is not None and view.status == "Terminated"
    assert view.failure is not None and view.failure.message == "enough"
    assert await bench.engine.terminate("a", "again") is False
    await bench.crash()
    assert bench.engine.view("a") == view


async def test_a_cancelled_activity_lands_nothing(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.activity("gate", gate)

    def program(host: protocol.Host, call: bytes) -> protocol.Steps:
        host.activity("slow", "gate", 1)
        yield
        host.cancel("slow")
        host.activity("next", "same", 2)
        landed = yield
        return protocol.Ended(output=lab.encode(landed.key))

    bench.program("fickle", program)
    await bench.engine.begin("fickle", "a", b"")
    await gate.entered.wait()
    assert await bench.engine.raise_event("a", "changed my mind", b"")
    assert (await bench.ended("a")).output == lab.encode("next")


async def test_a_waiter_is_told_at_the_end_or_when_its_time_is_over(bench: lab.Lab) -> None:
    await bench.engine.begin("awaiting", "a", b"1")
    view = await bench.engine.wait("a", 0.01)
    assert view is not None and view.status == "Running"
    waiting = asyncio.create_task(bench.ended("a"))
    await asyncio.sleep(0)
    await bench.engine.raise_event("a", "go", b"x")
    assert (await waiting).output == lab.encode([b"x"])
    assert await bench.engine.wait("nobody", 1) is None


async def test_a_custom_status_is_seen_once_it_is_committed(bench: lab.Lab) -> None:
    await bench.engine.begin("awaiting", "a", b"2")
    for expected in (b"2 to come", b"1 to come"):
        view = bench.engine.view("a")
        assert view is not None and view.custom_status == expected
        await bench.engine.raise_event("a", "go", b"x")


async def test_no_event_is_seen_before_the_custom_status_that_goes_with_it(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.activity("same", gate)
    bench.program("chain", lab.chain)
    await bench.engine.begin("chain", "busy", b"1")  # while something runs, commits are made by the writer's thread
    await gate.entered.wait()
    await bench.engine.begin("awaiting", "a", b"2")

    raised = asyncio.create_task(bench.engine.raise_event("a", "go", b"x"))
    disk = apsw.Connection(str(bench.folder / hub.HUB_FILE), flags=apsw.SQLITE_OPEN_READONLY)
    on_disk = False
    while not on_disk:
        await asyncio.sleep(0)
        # What comes to rest on disk while the loop is held here is not announced yet.
        deadline = time.monotonic() + 0.05
        while not on_disk and time.monotonic() < deadline:
            on_disk = disk.execute("SELECT count(*) FROM landings WHERE events > 0").fetchone() != (0,)
    view = bench.engine.view("a")
    assert view is not None and view.custom_status == b"2 to come"
    assert bench.engine.events("a") == []

    assert await raised
    view = bench.engine.view("a")
    assert view is not None and view.custom_status == b"1 to come"
    assert [event.data for event in bench.engine.events("a")] == [b"got x"]
    gate.open.set()
    await bench.ended("busy")


async def test_views_and_payloads_are_read_from_any_thread(bench: lab.Lab) -> None:
    blob = refs.blob(b"body")
    await bench.engine.begin("awaiting", "a", b"1", blobs=[blob])
    seen: list[object] = []

    def look() -> None:
        seen.append(bench.engine.view("a"))
        seen.append(bench.engine.query()[0])
        seen.append(bench.engine.payloads.read("a", blob.digest))
        seen.append(bench.engine.events("a"))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    view = bench.engine.view("a")
    assert seen == [view, [view], b"body", []]


async def test_a_second_owner_is_refused_with_the_pid_of_the_first(bench: lab.Lab) -> None:
    import os

    with pytest.raises(errors.HubError, match=f"process {os.getpid()}"):
        await bench.make().start()


async def test_the_hub_folder_keeps_itself_out_of_git(bench: lab.Lab) -> None:
    assert (bench.folder / ".gitignore").read_text() == "*\n"


async def test_purging_leaves_nothing_of_an_instance(bench: lab.Lab, tmp_path: pathlib.Path) -> None:
    small, large = refs.blob(b"small"), refs.blob(b"large" * 20_000)
    await bench.engine.begin("awaiting", "a", b"1", blobs=[small, large])
    assert await bench.engine.purge("a") is False
    await bench.engine.raise_event("a", "go", b"x")
    await bench.ended("a")
    assert await bench.engine.purge("a") is True
    assert bench.engine.view("a") is None and bench.engine.events("a") == []
    for blob in (small, large):
        with pytest.raises(errors.PayloadMissing):
            bench.engine.payloads.read("a", blob.digest)
    for table in ("instances", "history", "kept", "timers", "payloads"):
        connection = bench.engine._readers._take()
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)], table
        bench.engine._readers._give_back(connection)
    assert await bench.engine.purge("a") is False
    assert (await bench.engine.begin("awaiting", "a", b"1"))[1] is True


async def test_a_result_and_its_payloads_of_any_size_are_durable_together(bench: lab.Lab) -> None:
    bodies = [b"s", b"m" * 60_000, b"l" * 100_000]
    items = [refs.blob(body) for body in bodies]
    bench.activity("same", lab.same, lambda value: items)
    await bench.engine.begin("chain", "a", b"1")
    await bench.ended("a")
    await bench.crash()
    assert [bench.engine.payloads.read("a", item.digest) for item in items] == bodies


async def test_a_kept_state_shortens_what_is_run_again(bench: lab.Lab) -> None:
    begun: list[int] = []
    gate = lab.Gate()

    def steps(host: protocol.Host, first: int) -> protocol.Steps:
        begun.append(first)
        for step in range(first, 100):
            host.keep(lambda step=step: b"%d" % step)  # type: ignore[misc]  # a default binds the step
            host.emit(b"%d" % step)
            host.activity(f"s{step}", "gate" if step == 90 else "same", step)
            yield
        return protocol.Ended(output=b"done")

    bench.program("long", lambda host, call: steps(host, 0), lambda host, call, state: steps(host, int(state)))
    bench.activity("gate", gate)
    await bench.engine.begin("long", "a", b"")
    await gate.entered.wait()
    await bench.crash()
    gate.open.set()
    assert (await bench.ended("a")).output == b"done"
    assert begun[0] == 0 and 90 - instance.KEEP_EVERY_LANDINGS <= begun[1] <= 90
    assert [event.data for event in bench.engine.events("a")] == [b"%d" % step for step in range(100)]
    assert len(bench.ran) == 101


async def test_entities_keep_their_state(bench: lab.Lab) -> None:
    await bench.engine.put_entity("counter", "a", b"1")
    await bench.engine.put_entity("counter", "a", b"2")
    await bench.engine.put_entity("counter", "b", b"1")
    await bench.crash()
    assert bench.engine.entity("counter", "a") == b"2"
    assert [key for key, _ in bench.engine.entities("counter")] == ["a", "b"]
    await bench.engine.put_entity("counter", "a", None)
    assert bench.engine.entity("counter", "a") is None


async def test_a_missing_orchestrator_holds_up_only_its_own_instances(bench: lab.Lab) -> None:
    gate = lab.Gate()
    bench.activity("same", gate)
    await bench.engine.begin("chain", "a", b"1")
    await gate.entered.wait()
    gone = bench.orchestrators.pop("chain")
    await bench.crash()
    view = bench.engine.view("a")
    assert view is not None and view.status == "Running"
    bench.orchestrators["chain"] = gone
    gate.open.set()
    await bench.crash()
    assert (await bench.ended("a")).status == "Completed"


async def test_an_instance_whose_orchestrator_is_gone_waits_and_can_be_terminated(tmp_path: pathlib.Path) -> None:
    class Waits:
        name = "waits"

        def begin(self, host: protocol.Host, call: bytes) -> protocol.Steps:
            yield
            return protocol.Ended(call)

        def resume(self, host: protocol.Host, call: bytes, state: bytes) -> protocol.Steps:
            return self.begin(host, call)

        def decode(self, data: bytes) -> bytes:
            return data

    with_code = engine.Engine(tmp_path, orchestrators={"waits": Waits()}, activities={})
    await with_code.start()
    await with_code.begin("waits", "a", b"in")
    await with_code.close()

    without = engine.Engine(tmp_path, orchestrators={}, activities={})
    await without.start()
    view = without.view("a")
    assert view is not None and view.status == "Running"
    assert await without.terminate("a", "not wanted", b"last")
    view = without.view("a")
    assert view is not None and view.status == "Terminated"
    assert [event.data for event in without.events("a")] == [b"last"]
    assert await without.purge("a")
    await without.close()
