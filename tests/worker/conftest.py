"""The worker's library needs Python 3.13. Where there is none its tests are left out, and the report says so."""

from __future__ import annotations

import pytest
from tests.worker import library

collect_ignore = [] if library.PYTHON.exists() else ["test_worker.py", "test_indexing.py", "test_faults.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not library.PYTHON.exists():
        terminalreporter.section("not tried", yellow=True)
        terminalreporter.line(
            "Microsoft's worker was not tried: it needs Python 3.13, and there is none here. "
            "With one on the path, or named by WORKER_PYTHON, run .ci/setup-worker."
        )
