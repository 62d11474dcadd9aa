"""What holds for people in the loop on the local host, held on a scheduler."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from tests.durabletask import hosting
from tests.people import desk, test_deadlines, test_requests, test_sub_workflows


@pytest.fixture(autouse=True)
def on_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "make_host", hosting.SchedulerHost)


OF_THE_EMBEDDED_ENGINE = {"test_a_deadline_passes_in_a_long_run_that_was_resumed_from_a_kept_state"}
"""It looks into the engine's tables."""


def promises(module: ModuleType) -> dict[str, Any]:
    """The tests of a module that are not about the embedded engine."""
    tests = {name: value for name, value in vars(module).items() if name.startswith("test_")}
    left_out = {name for name, test in tests.items() if _is_embedded(test)} | OF_THE_EMBEDDED_ENGINE
    return {name: test for name, test in tests.items() if name not in left_out}


def _is_embedded(test: Any) -> bool:
    return any(mark.name == "embedded" for mark in getattr(test, "pytestmark", ()))


for tried in (test_deadlines, test_requests, test_sub_workflows):
    globals().update(promises(tried))
