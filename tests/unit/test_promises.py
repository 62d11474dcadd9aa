"""The pages of promises and of what the incumbent has name tests that exist."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
NAMED = re.compile(r"`((?:tests|src)/[\w/.]+\.py)(?:::(\w+))?`")
HEADS = ("promise", "there")

PAGES = pytest.mark.parametrize(("page", "least"), [("promises.md", 20), ("compatibility.md", 80)])


def rows(page: str) -> list[list[str]]:
    """The rows of a page's tables that have a test in their last column."""
    found: list[list[str]] = []
    held = False
    for line in (REFERENCE / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            held = False
        elif cells[0] in HEADS:
            held = cells[-1] == "test"
        elif held and "---" not in cells[0]:
            found.append(cells)
    return found


@PAGES
def test_every_promise_names_the_test_that_holds_it(page: str, least: int) -> None:
    assert len(rows(page)) >= least
    without = [row[0] for row in rows(page) if not NAMED.search(row[-1])]
    assert not without


@PAGES
def test_every_test_that_is_named_exists(page: str, least: int) -> None:
    missing = []
    for file, name in NAMED.findall((REFERENCE / page).read_text(encoding="utf-8")):
        path = ROOT / file
        if not path.is_file() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
            missing.append(f"{file}::{name}")
    assert not missing
