from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.durabletask import hosting
from tests.durabletask.scheduler import Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module", autouse=True)
def joined() -> Iterator[None]:
    """Wait for the workers that a module's tests killed."""
    yield
    hosting.join()
