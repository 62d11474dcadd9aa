"""What holds for people in the loop, sub-workflows and policies on the local host, held on a scheduler."""

from __future__ import annotations

import pytest
from tests import borrowed
from tests.durabletask import hosting
from tests.people import (
    desk,
    test_deadlines,
    test_oracle,
    test_requests,
    test_sub_workflow_steps,
    test_sub_workflows,
    test_withdraw,
)
from tests.policy import test_retry, test_rewind


@pytest.fixture(autouse=True)
def on_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "make_host", hosting.SchedulerHost)


ELSEWHERE = {
    "test_a_deadline_passes_in_a_long_run_that_was_resumed_from_a_kept_state",
    "test_a_run_that_failed_beside_a_sub_workflow_is_rewound_with_what_that_had_done",
    "test_a_run_that_is_cancelled_inside_ends_there_and_leaves_nothing",
    "test_a_sub_workflow_that_takes_too_long_fails_and_has_its_time_again_when_rewound",
    "test_a_run_keeps_the_policy_that_it_was_started_with",
}
"""One looks into the embedded engine's tables, and one makes a local host. What is out when a run ends goes on here. In
the time that one gives it a scheduler does not always do what is done in process."""

borrowed.into(
    globals(),
    test_deadlines,
    test_oracle,
    test_requests,
    test_sub_workflow_steps,
    test_sub_workflows,
    test_withdraw,
    test_retry,
    test_rewind,
    without=ELSEWHERE,
)
