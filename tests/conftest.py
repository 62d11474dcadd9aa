"""What holds for all tests.

Where CI=true, a test that was skipped is a test that failed: what was not run has not been shown to hold. A coroutine
that waits for ever is a failure too, and says where it waits.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

import _pytest.faulthandler
import pytest

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)
LONGEST_TEST_SECONDS = 120.0
IN_CI = os.environ.get("CI", "").lower() == "true"


def _refuse_skip(report: R) -> R:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, which counts as failed where CI=true. {reason}"
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--replay",
        action="store_true",
        help="run workflows as on engines that replay histories: on the local host by the official SDK, as Azure would",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--replay"):
        _replay_everywhere()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--replay"):
        left_out = [item for item in items if item.get_closest_marker("embedded")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def _replay_everywhere() -> None:
    from tests.workflow import support

    from perdure.hosts.local import host

    support.lives = True
    begin = host.LocalHost.__init__

    def replaying(self: host.LocalHost, *args: Any, **options: Any) -> None:
        begin(self, *args, **{"replay": True, **options})

    host.LocalHost.__init__ = replaying  # type: ignore[method-assign]  # what --replay is for


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    if (
        isinstance(item, pytest.Function)
        and inspect.iscoroutinefunction(item.obj)
        and not item.get_closest_marker("soak")
    ):
        item.obj = _bounded(item.obj)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    # Pytest bounds the whole of a test, until it fails: what it then leaves behind may keep it from ending.
    seconds = float(item.config.getini("faulthandler_timeout") or 0)
    if seconds:
        told = item.config.stash[_pytest.faulthandler.fault_handler_stderr_fd_key]
        exits = item.config.getini("faulthandler_exit_on_timeout")
        faulthandler.dump_traceback_later(seconds, exit=exits, file=told)
    return (yield)


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: Any, **given: Any) -> None:
        async with asyncio.timeout(LONGEST_TEST_SECONDS):
            await test(*args, **given)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))


@pytest.fixture(scope="session")
def azurite() -> Generator[Any]:
    """The storage emulator, one for all tests that ask for it."""
    from tests.azurite import emulator

    with emulator.started() as found:
        yield found
