from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.durabletask import orchestrating
from tests.durabletask.scheduler import Scheduler

from perdure.hosts.replay import lives
from perdure.testing.conformance import orchestrations as conformance


class TestDurableTask(conformance.SharedSuite):
    @pytest.fixture
    async def bench(self, scheduler: Scheduler) -> AsyncIterator[conformance.Bench]:
        async def open_hub(
            orchestrators: orchestrating.Orchestrators, given: orchestrating.Activities
        ) -> conformance.Backend:
            hub = orchestrating.Hub(scheduler, orchestrators, given)
            await hub.start()
            return hub

        made = conformance.Bench(open_hub)
        yield made
        await made.close()


class TestReplayed(TestDurableTask):
    """Each turn is run over the whole history, as by a worker that has seen none of it."""

    @pytest.fixture(autouse=True)
    def forgetful(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lives, "AT_HAND", 0)
