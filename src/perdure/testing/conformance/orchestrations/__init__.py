"""What every host of orchestrations must do, as tests that any of them can run.

The host is :class:`perdure.workflow.protocol.Host` to the orchestrators and a :class:`Backend` to the suite.
Subclass :class:`OrchestrationsSuite` in a test module, with a fixture ``bench`` that gives a :class:`Bench`::

    class TestMine(OrchestrationsSuite):
        @pytest.fixture
        async def bench(self) -> AsyncIterator[Bench]:
            made = Bench(open_mine)
            yield made
            await made.close()
"""

from __future__ import annotations

import pytest

_MODULES = ("activities", "bench", "children", "ends", "events", "keys", "lives", "programs", "timers")
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from perdure.testing.conformance.orchestrations import (  # noqa: E402  # their assertions are rewritten first
    activities,
    children,
    ends,
    events,
    keys,
    lives,
    timers,
)
from perdure.testing.conformance.orchestrations.bench import Backend, Bench, Open  # noqa: E402  # as above

__all__ = ["Backend", "Bench", "Open", "OrchestrationsSuite"]


class OrchestrationsSuite(
    ends.EndsSuite,
    activities.ActivitiesSuite,
    keys.KeysSuite,
    timers.TimersSuite,
    events.EventsSuite,
    children.ChildrenSuite,
    lives.LivesSuite,
):
    """The suite. Each test bears its promise as its name."""

    pytestmark = pytest.mark.asyncio
