from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

CONFTEST = pathlib.Path(__file__).parents[1] / "conftest.py"

SKIPPED_TEST = """
import pytest

@pytest.mark.skip(reason="no browser here")
def test_skipped(): ...

@pytest.mark.xfail(reason="known")
def test_known(): assert False
"""
SKIPPED_MODULE = """
import pytest

pytest.skip("no browser here", allow_module_level=True)
"""


def run_pytest(
    folder: pathlib.Path, source: str, ci: str, ini: str = "", *, longest: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run tests with the configuration of these, in a folder of their own.

    Args:
        folder: The folder.
        source: The tests.
        ci: What ``CI`` says.
        ini: How pytest is set up.
        longest: How long a coroutine may take, seconds.
    """
    conftest = CONFTEST.read_text()
    bound = "LONGEST_TEST_SECONDS = 120.0"
    assert bound in conftest
    (folder / "conftest.py").write_text(conftest.replace(bound, f"LONGEST_TEST_SECONDS = {longest}"))
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(folder)],
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("source", [SKIPPED_TEST, SKIPPED_MODULE], ids=["test", "module"])
def test_skip_fails_where_ci_is_true(tmp_path: pathlib.Path, source: str) -> None:
    done = run_pytest(tmp_path, source, "true")
    assert done.returncode != 0
    assert "no browser here" in done.stdout


def test_skip_and_expected_failure_pass_elsewhere(tmp_path: pathlib.Path) -> None:
    done = run_pytest(tmp_path, SKIPPED_TEST, "")
    assert done.returncode == 0
    assert "1 skipped, 1 xfailed" in done.stdout
