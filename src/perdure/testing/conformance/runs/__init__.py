"""What every back end of :class:`perdure.routes.runs.Runs` must do, as tests that any of them can run.

Subclass :class:`RunsSuite` in a test module, with a fixture ``bench`` that gives a :class:`Bench`::

    class TestMine(RunsSuite):
        @pytest.fixture
        async def bench(self) -> AsyncIterator[Bench]: ...
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("answers", "basics", "bench", "kills")))

from perdure.testing.conformance.runs.answers import AnswersSuite  # noqa: E402  # to be rewritten first
from perdure.testing.conformance.runs.basics import BasicsSuite  # noqa: E402  # to be rewritten first
from perdure.testing.conformance.runs.bench import PATIENCE_SECONDS, Accept, Bench  # noqa: E402  # to be rewritten first
from perdure.testing.conformance.runs.kills import KillsSuite  # noqa: E402  # to be rewritten first

__all__ = ["PATIENCE_SECONDS", "Accept", "AnswersSuite", "BasicsSuite", "Bench", "KillsSuite", "RunsSuite"]


class RunsSuite(BasicsSuite, AnswersSuite, KillsSuite):
    """The whole suite. Each test bears its promise as its name."""
