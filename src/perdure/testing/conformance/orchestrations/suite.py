"""The suite as a whole."""

from __future__ import annotations

import pytest

from perdure.testing.conformance.orchestrations import activities, children, ends, events, keys, lives, timers


class OrchestrationsSuite(
    ends.EndsSuite,
    activities.ActivitiesSuite,
    keys.KeysSuite,
    timers.TimersSuite,
    events.EventsSuite,
    children.ChildrenSuite,
    lives.LivesSuite,
):
    """Every promise of a host of orchestrations. Each test bears its promise as its name."""

    pytestmark = pytest.mark.asyncio
