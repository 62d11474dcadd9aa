"""What holds for agents on the local host, held through the functions that an app has on Azure."""

from __future__ import annotations

import uuid

import pytest
from tests import borrowed
from tests.agents import (
    test_approvals,
    test_crash,
    test_errors,
    test_idempotency,
    test_live,
    test_retry,
    test_routes,
    test_session_routes,
    test_streams,
    test_waiting,
    test_workflow_agents,
    world,
)
from tests.azure import hosting
from tests.azurite import emulator

from perdure.hosts.azure import triggers
from perdure.testing import ScriptedChatClient

NOT_HERE = {
    # A path that no function has is the Functions host's to answer.
    "test_an_unknown_agent_gets_404_that_names_those_there_are",
    # Who has no key is told no more than that it is healthy.
    "test_health_lists_the_agents",
    # A function answers once: nobody can do anything after the head of an answer and before its end.
    "test_a_deletion_and_a_key_in_use_are_problems_in_the_last_event",
}


@pytest.fixture(autouse=True)
def as_functions(azurite: emulator.Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "LocalHost", hosting.FunctionsHost)
    monkeypatch.setenv("AzureWebJobsStorage", azurite.connection())
    monkeypatch.setenv("TASKHUB_NAME", f"t{uuid.uuid4().hex[:8]}")


borrowed.into(
    globals(),
    test_approvals,
    test_crash,
    test_errors,
    test_idempotency,
    test_live,
    test_retry,
    test_routes,
    test_session_routes,
    test_streams,
    test_waiting,
    test_workflow_agents,
    without=NOT_HERE,
)


async def test_a_stream_of_an_agent_is_not_cut_for_who_cannot_come_back_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a run is, which is answered with what there is: the last event says what has come of the turn."""
    monkeypatch.setattr(triggers, "LONG_POLL_SECONDS", 0.01)
    await test_live.test_a_stream_that_is_waited_for_no_longer_ends_as_accepted_and_the_turn_goes_on()


async def test_a_stream_ends_while_somebody_is_there_to_read_it() -> None:
    gate = test_idempotency.Gate()
    app = world.app_of(ScriptedChatClient(gate))
    app.agent_wait_seconds = 0.5
    async with world.serve(app) as served:
        events = await test_live.heard(served)
        gate.opened.set()
    assert [(kind, data["status"]) for kind, data in events] == [("answer", "accepted")]
