"""Where CI=true, a test that was skipped is a test that failed: what was not run has not been shown to hold."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)
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
