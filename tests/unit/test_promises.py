"""The page of promises names tests that exist."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "promises.md"
NAMED = re.compile(r"`((?:tests|src)/[\w/.]+\.py)(?:::(\w+))?`")


def rows() -> list[list[str]]:
    lines = [line.strip("|").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "|" in line]
    return [line for line in lines if len(line) > 1 and line[0].strip() not in ("promise",) and "---" not in line[0]]


def test_every_promise_names_the_test_that_holds_it() -> None:
    assert len(rows()) >= 20
    without = [row[0] for row in rows() if not NAMED.search(row[-1])]
    assert not without


def test_every_test_that_is_named_exists() -> None:
    missing = []
    for file, name in NAMED.findall(PAGE.read_text(encoding="utf-8")):
        path = ROOT / file
        if not path.is_file() or (name and f"def {name}(" not in path.read_text(encoding="utf-8")):
            missing.append(f"{file}::{name}")
    assert not missing
