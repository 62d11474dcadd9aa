"""The page on what a million runs cost stands on counts; these are what runs do now."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
PERDURE_ROWS = 10


def test_the_counts_on_the_page_are_those_of_real_runs() -> None:
    """If this fails, what a run asks for has changed: ``python benchmarks/scale.py --page``, and read what it says."""
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    compared = re.search(r"(\d+) rows compared", done.stdout)
    assert compared is not None and int(compared[1]) >= PERDURE_ROWS, done.stdout
