"""The engine's SQL, read from its ``.sql`` files by name."""

from __future__ import annotations

import functools
import importlib.resources
import re

_FOLDER = importlib.resources.files("perdure.engine") / "sql"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW = re.compile(r"/\*row\*/(.*?)/\*end\*/", re.DOTALL)


def script(file: str) -> str:
    """Give a whole ``.sql`` file, such as a migration."""
    return (_FOLDER / file).read_text(encoding="utf-8")


@functools.cache
def _named() -> dict[str, str]:
    parts = _NAME.split(script("statements.sql"))
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


@functools.cache
def text(name: str) -> str:
    """Give a statement by name, for one row."""
    return _ROW.sub(r"\1", _named()[name])


@functools.cache
def rows(name: str, count: int) -> str:
    """Give a multi-row statement for so many rows."""
    return _ROW.sub(lambda match: ", ".join([match[1]] * count), _named()[name])


@functools.cache
def width(name: str) -> int:
    """Count the values that one row of a multi-row statement takes."""
    match = _ROW.search(_named()[name])
    assert match is not None, f"{name} has no row to repeat"
    return match[1].count("?")
