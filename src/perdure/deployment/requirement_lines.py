"""The lines of a ``requirements.txt``: the packages that they name, and what installing those brings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Final

from packaging import requirements, utils

WHEEL: Final = re.compile(
    r"(?P<path>\S*?(?P<name>[\w.]+)-[\w.+!]+(?:-[\w.]+){3,4}\.whl)(?P<extras>\[[^\]]*\])?(?:\s|$)"
)
"""A line that names a wheel beside the app."""


def named_in(lines: Iterable[str]) -> Iterator[requirements.Requirement]:
    """Read the lines that name a package; a wheel beside the app counts as the package that it is."""
    for line in lines:
        if line.startswith("-"):
            continue
        wheel = WHEEL.match(line)
        named = f"{wheel['name']}{wheel['extras'] or ''}" if wheel else line.partition(" #")[0]
        try:
            yield requirements.Requirement(named)
        except requirements.InvalidRequirement:
            continue


def pin_of(line: str) -> str:
    """Give the versions that a line of requirements allows, as it says it."""
    return "".join(str(item.specifier) for item in named_in((line,)))


def is_of(line: str, name: str) -> bool:
    """Say whether a line of requirements names a package."""
    return any(utils.canonicalize_name(item.name) == name for item in named_in((line,)))


def extras_of(line: str) -> set[str]:
    """Give the extras that a line of requirements asks for."""
    return {extra for item in named_in((line,)) for extra in item.extras}


def closure(named: Iterable[requirements.Requirement]) -> set[str]:
    """Give the distributions that installing some brings, as far as they are installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [(utils.canonicalize_name(item.name), extra) for item in named for extra in ("", *item.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for item in map(requirements.Requirement, needed):
            if item.marker is None or item.marker.evaluate({"extra": extra}):
                waiting += [(utils.canonicalize_name(item.name), each) for each in ("", *item.extras)]
    return {name for name, _ in found}
