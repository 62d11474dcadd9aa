from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from perdure.cli import start

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def threads_take_turns() -> Iterator[None]:
    """Another thread runs when this one waits, and not before."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_that_comes_just_as_the_loop_goes_to_sleep_is_heard_at_once(
    handlers: None, threads_take_turns: None, number: signal.Signals
) -> None:
    stop = start.Stop()
    go = threading.Event()

    def send() -> None:
        go.wait()
        signal.pthread_kill(threading.get_ident(), number)

    sender = threading.Thread(target=send)
    sender.start()
    asked = asyncio.create_task(stop.asked())
    began = time.monotonic()
    go.set()
    await asyncio.wait({asked}, timeout=10)
    waited = time.monotonic() - began
    sender.join()
    assert waited < 5, "it was heard when the end of the wait woke the loop"
