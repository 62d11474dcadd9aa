"""Tests wait for what happens, and do not hope that a while is long enough."""

from __future__ import annotations

import pathlib
import re

TESTS = pathlib.Path(__file__).parents[1]
# To sleep for nothing lets others have their turn.
SLEEP = re.compile(r"\bsleep\((?!0\))")
WHY = {
    "polling.py": "what nothing tells is asked for here, and nowhere else",
    "people/test_deadlines.py": "a deadline is to pass while the host is down",
    "host/test_blocking.py": "the step that is tried blocks",
    "functions/test_entities.py": "the operation that is tried takes its time",
    "unit/cli/test_commands.py": "the step that is tried takes its time",
}


def test_no_test_sleeps_instead_of_waiting() -> None:
    here = pathlib.Path(__file__)
    found = {
        file.relative_to(TESTS).as_posix()
        for file in TESTS.rglob("*.py")
        if file != here and SLEEP.search(file.read_text(encoding="utf-8"))
    }
    assert found == WHY.keys(), "wait for the event; where nothing tells, ask by tests/polling.py"
