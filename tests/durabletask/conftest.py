from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.durabletask.scheduler import Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stopping() -> Iterator[list[threading.Thread]]:
    """Threads in which workers stop: each takes a second to see that nothing comes any more."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join()
