"""kill -9 at any moment: a run goes on, ends with the same outputs, and nothing that was recorded runs again."""

from __future__ import annotations

import collections
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import apsw
import msgspec
import pytest

from perdure.engine import records

from . import runs_victim

MEMORY = pathlib.Path("/dev/shm")
VICTIM = pathlib.Path(runs_victim.__file__)
RUNS = ["r1", "r2"]
PHASES: tuple[runs_victim.Phase, ...] = ("before", "inside", "after")
STEPS = [
    "1/0/entry",
    "2/0/split",
    "3/0/left",
    "3/0/right",
    "4/0/join",
    "5/0/judge",
    "6/0/split",
    "7/0/left",
    "7/0/right",
    "8/0/join",
    "9/0/judge",
    "10/0/polish",
    "11/0/sign",
    "11/1/sign",
    "12/0/finish",
    "12/1/finish",
]
OUTPUTS = [
    "left2/1 after 2 rounds: left1 right1 left2 right2",
    "right2/2 after 2 rounds: left1 right1 left2 right2",
]

Step = tuple[str, str]
"""A run and the key of a step in it."""


class Forks:
    """A process that has everything imported; each life is lived by a fork of it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None and self.process.stdout is not None
        self._orders: IO[bytes] = self.process.stdin
        self._answers: IO[bytes] = self.process.stdout

    def live(self, life: runs_victim.Life) -> int:
        """Live a life; gives the exit code, or the signal's number below zero."""
        self._orders.write(msgspec.json.encode(life) + b"\n")
        self._orders.flush()
        return int(self._answers.readline())

    def close(self) -> None:
        self._orders.close()
        self.process.wait()
        self._answers.close()


class Place:
    """A hub, and what was seen of its lives."""

    def __init__(self, folder: pathlib.Path, forks: Forks) -> None:
        self.hub = folder / "hub"
        self._copy = folder / "copy"
        self._ran = folder / "ran"
        self._accepted = folder / "accepted"
        self._report = folder / "report"
        self._forks = forks
        folder.mkdir()

    def live(
        self, name: str, *, phase: runs_victim.Phase = "", commit: int = 0, step: str = "", runs: list[str] = RUNS
    ) -> bool:
        """Live a life; False if it was killed."""
        self._report.unlink(missing_ok=True)
        life = runs_victim.Life(
            str(self.hub),
            str(self._ran),
            name,
            runs,
            str(self._accepted),
            str(self._report),
            phase=phase,
            commit=commit,
            step=step,
        )
        code = self._forks.live(life)
        assert code in (0, -signal.SIGKILL), code
        accepted = self._accepted.read_text().split() if self._accepted.exists() else []
        present = [run for (run,) in self._read("SELECT id FROM instances")]
        assert set(accepted) <= set(present), "what was accepted is lost"
        return code == 0

    def ran(self) -> dict[str, list[Step]]:
        """The steps that executors ran in each life, in order."""
        found: dict[str, list[Step]] = collections.defaultdict(list)
        if self._ran.exists():
            for line in self._ran.read_text().splitlines():
                life, run, key = line.split(" ")
                found[life].append((run, key))
        return found

    def recorded(self) -> dict[Step, bytes]:
        """The results in the history."""
        found: dict[Step, bytes] = {}
        for run, row in self._read("SELECT id, record FROM history JOIN instances ON number = instance ORDER BY seq"):
            record = records.decode_record(row)
            if record.kind == records.RESULT:
                assert (run, record.key) not in found, "a step has two results"
                found[run, record.key] = row
        return found

    def _read(self, query: str) -> list[Any]:
        """Ask a copy of the hub: looking must not help the next life."""
        shutil.rmtree(self._copy, ignore_errors=True)
        self._copy.mkdir()
        for file in self.hub.glob("hub.db*"):
            shutil.copy(file, self._copy)
        if not (self._copy / "hub.db").exists():
            return []
        connection = apsw.Connection(str(self._copy / "hub.db"))
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'history'").fetchall():
                return []
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def ended(self) -> dict[str, runs_victim.Ended]:
        """How the runs ended."""
        return msgspec.json.decode(self._report.read_bytes(), type=dict[str, runs_victim.Ended])


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """A folder in memory where that is to be had: a killed process leaves behind there what it leaves on a disk."""
    with tempfile.TemporaryDirectory(prefix="perdure-", dir=MEMORY if MEMORY.is_dir() else None) as made:
        yield pathlib.Path(made)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


@pytest.fixture(scope="module")
def undisturbed(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> runs_victim.Ended:
    """How a run ends that nothing happens to."""
    place = Place(tmp_path_factory.mktemp("undisturbed") / "place", forks)
    assert place.live("only", runs=["r"])
    assert [key for _, key in place.ran()["only"]] == STEPS
    ended = place.ended()["r"]
    assert ended.outputs == OUTPUTS
    return ended


def check(place: Place, lives: dict[str, dict[Step, bytes]], expected: runs_victim.Ended, runs: list[str]) -> None:
    """Hold what must hold at the end.

    Args:
        place: The hub, its last life over.
        lives: By each life's name, what was recorded when it began.
        expected: How each run must have ended.
        runs: Their ids.
    """
    final = place.recorded()
    assert set(final) == {(run, key) for run in runs for key in STEPS}
    ran = place.ran()
    assert set(ran) <= set(lives)
    for life, before in lives.items():
        again = [step for step in ran[life] if step in before]
        assert not again, f"life {life} ran again what was recorded: {again}"
        assert len(ran[life]) == len(set(ran[life])), f"life {life} ran a step twice: {ran[life]}"
        assert before.items() <= final.items(), "what was recorded has changed"
    ended = place.ended()
    for run in runs:
        assert ended[run] == expected


@pytest.mark.parametrize("phase", PHASES)
def test_killed_at_every_commit_a_run_ends_the_same_and_repeats_nothing(
    phase: runs_victim.Phase, forks: Forks, undisturbed: runs_victim.Ended, folder: pathlib.Path
) -> None:
    number = 0
    survived = False
    while not survived:
        number += 1
        place = Place(folder / str(number), forks)
        survived = place.live("first", phase=phase, commit=number)
        recorded = place.recorded()
        if not survived:
            assert place.live("second")
        check(place, {"first": {}, "second": recorded}, undisturbed, RUNS)
        shutil.rmtree(folder / str(number))
    assert number > 20, "there were fewer commits than steps: the kills missed them"


@pytest.mark.parametrize("phase", PHASES)
def test_killed_again_and_again_a_run_still_comes_to_its_end(
    phase: runs_victim.Phase, forks: Forks, undisturbed: runs_victim.Ended, folder: pathlib.Path
) -> None:
    # The first commit of each life says that it began; with the fourth fatal, each life gets a little further.
    place = Place(folder / "place", forks)
    lives: dict[str, dict[Step, bytes]] = {}
    while len(lives) < 60:
        name = f"life{len(lives)}"
        lives[name] = place.recorded()
        if place.live(name, phase=phase, commit=4, runs=["r"]):
            break
    check(place, lives, undisturbed, ["r"])
    assert len(lives) > 4


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_user_code_only_the_steps_in_flight_run_again(
    step: str, forks: Forks, undisturbed: runs_victim.Ended, folder: pathlib.Path
) -> None:
    place = Place(folder / "place", forks)
    assert not place.live("first", step=step, runs=["r"])
    recorded = place.recorded()
    assert ("r", step) not in recorded
    assert place.live("second", runs=["r"])
    check(place, {"first": {}, "second": recorded}, undisturbed, ["r"])
    assert ("r", step) in place.ran()["second"]
