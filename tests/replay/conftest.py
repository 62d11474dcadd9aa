from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.durabletask import hosting

from perdure import testing

Make = Callable[..., Any]


def on_azure(app: Any, **options: Any) -> testing.LocalHost:
    """Host an app as Azure Functions runs it."""
    return testing.LocalHost(app, **{**options, "replay": True})


@pytest.fixture(params=[on_azure, hosting.SchedulerHost], ids=["azure", "durabletask"])
def make_host(request: pytest.FixtureRequest) -> Make:
    """What hosts an app on an engine that replays."""
    made: Make = request.param
    return made


@pytest.fixture(scope="module", autouse=True)
def joined() -> Iterator[None]:
    """Wait for the workers that a module's tests killed."""
    yield
    hosting.join()
