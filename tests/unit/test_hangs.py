"""A test that waits for ever fails, and says where it waits."""

from __future__ import annotations

import pathlib

from tests.unit import test_skips

WAITS = """
import asyncio

async def test_waits():
    await nobody_comes()

async def nobody_comes():
    await asyncio.Event().wait()
"""

LEAVES = """
import asyncio, threading

async def test_fails():
    asyncio.get_running_loop().run_in_executor(None, thread_of_its_own)
    assert False

def thread_of_its_own():
    threading.Event().wait()
"""


def test_a_coroutine_that_waits_for_ever_fails_and_says_where(tmp_path: pathlib.Path) -> None:
    done = test_skips.run_pytest(tmp_path, WAITS, "true", "asyncio_mode = auto", longest=0.1)
    assert "1 failed" in done.stdout and "TimeoutError" in done.stdout
    assert "await nobody_comes()" in done.stdout


def test_a_test_that_failed_and_cannot_end_is_ended_and_says_where(tmp_path: pathlib.Path) -> None:
    """Its loop waits for its threads."""
    ini = "asyncio_mode = auto\nfaulthandler_timeout = 2\nfaulthandler_exit_on_timeout = true"
    done = test_skips.run_pytest(tmp_path, LEAVES, "true", ini)
    assert done.returncode != 0
    assert "thread_of_its_own" in done.stderr
