"""What holds for people in the loop on the local host, held on a scheduler."""

from __future__ import annotations

import pytest
from tests import borrowed
from tests.durabletask import hosting
from tests.people import desk, test_deadlines, test_requests, test_sub_workflows


@pytest.fixture(autouse=True)
def on_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "make_host", hosting.SchedulerHost)


OF_THE_EMBEDDED_ENGINE = {"test_a_deadline_passes_in_a_long_run_that_was_resumed_from_a_kept_state"}
"""It looks into the engine's tables."""


borrowed.into(globals(), test_deadlines, test_requests, test_sub_workflows, without=OF_THE_EMBEDDED_ENGINE)
