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

_MODULES = ("activities", "alone", "bench", "children", "ends", "events", "keys", "lives", "programs", "timers")
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from perdure.testing.conformance.orchestrations.bench import Backend, Bench, Open  # noqa: E402  # to be rewritten first
from perdure.testing.conformance.orchestrations.suite import OrchestrationsSuite, SharedSuite  # noqa: E402  # to be rewritten first

__all__ = ["Backend", "Bench", "Open", "OrchestrationsSuite", "SharedSuite"]
