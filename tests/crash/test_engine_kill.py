"""A real process, killed at every commit in turn."""

from __future__ import annotations

import asyncio
import pathlib
import subprocess
import sys

import apsw
import msgspec
import pytest

from perdure.engine import engine, records

VICTIM = pathlib.Path(__file__).with_name("engine_victim.py")
TOTAL = sum(step + branch for step in range(6) for branch in range(3)) + 1000 + 201
LIVES_LIMIT = 200


def live(hub: pathlib.Path, log: pathlib.Path, moment: str, number: int) -> int:
    command = [sys.executable, str(VICTIM), str(hub), str(log), moment, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode <= 0, done.stderr
    return done.returncode


def committed(hub: pathlib.Path) -> set[tuple[str, str]]:
    """The results that are in the hub, as instance and key."""
    connection = apsw.Connection(str(hub / "hub.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    try:
        rows = connection.execute(
            "SELECT instances.id, record FROM history JOIN instances ON instances.number = history.instance"
        ).fetchall()
    finally:
        connection.close()
    found = [(str(row[0]), records.decode_record(bytes(row[1]))) for row in rows]  # type: ignore[arg-type]  # blobs
    return {(instance_id, record.key) for instance_id, record in found if record.kind == records.RESULT}


def lines(log: pathlib.Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize(("moment", "number"), [("after", 2), ("before", 3), ("after", 5)])
def test_killed_at_commit_after_commit_everything_ends_and_no_committed_result_runs_again(
    tmp_path: pathlib.Path, moment: str, number: int
) -> None:
    hub, log = tmp_path / "hub", tmp_path / "log"
    known: set[tuple[str, str]] = set()
    answered: set[str] = set()
    lives = 0
    while True:
        before = len(lines(log))
        ended = live(hub, log, moment, number) == 0
        for word, instance_id, *rest in lines(log)[before:]:
            if word == "ran":
                assert (instance_id, rest[0]) not in known, "a committed result was run again"
            elif word == "asking":
                assert instance_id not in answered, "an accepted answer was lost"
            elif word == "accepted":
                answered.add(instance_id)
        now = committed(hub)
        assert known <= now, "a committed result is gone"
        known = now
        if ended:
            break
        lives += 1
        assert lives < LIVES_LIMIT, "no progress"
    assert lives >= 3
    asyncio.run(check_ends(hub))


async def check_ends(hub: pathlib.Path) -> None:
    hosted = engine.Engine(hub, orchestrators={}, activities={})
    await hosted.start()
    try:
        for instance_id in ("a", "b"):
            view = hosted.view(instance_id)
            assert view is not None and view.status == "Completed", view
            assert view.output == msgspec.msgpack.encode(TOTAL)
            events = hosted.events(instance_id)
            assert [event.id for event in events] == list(range(1, 25))
            names = sorted(event.data.decode() for event in events)
            steps = [f"step {step}" for step in range(6)]
            assert names == sorted([*steps, *(f"landed {step}.{branch}" for step in range(6) for branch in range(3))])
    finally:
        await hosted.close()
