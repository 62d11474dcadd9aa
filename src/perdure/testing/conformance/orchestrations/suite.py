"""The suite as a whole."""

from __future__ import annotations

import pytest

from perdure.testing.conformance.orchestrations import activities, alone, children, ends, events, keys, lives, timers


class SharedSuite(
    ends.EndsSuite,
    activities.ActivitiesSuite,
    keys.KeysSuite,
    timers.TimersSuite,
    events.EventsSuite,
    children.ChildrenSuite,
    lives.LivesSuite,
):
    """Every promise of a host that several processes may share. Each test bears its promise as its name."""

    pytestmark = pytest.mark.asyncio


class OrchestrationsSuite(SharedSuite, alone.AloneSuite):
    """Every promise of a host that is one process."""
