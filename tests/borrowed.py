"""Tests of one host that another runs too: they are taken into a module of that host's, which says what is served."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def _sample() -> None:
    """There to see what fixtures are made as."""


FIXTURE = type(_sample)


def into(namespace: dict[str, Any], *modules: ModuleType, without: Collection[str] = ()) -> None:
    """Take the tests of some modules, with their fixtures, into another; not those that are about the embedded engine.

    Args:
        namespace: The other module's names.
        modules: The modules. What in them is no coroutine asks no host.
        without: Names of tests that are left out.
    """
    left = set(without)
    for module in modules:
        for name, value in vars(module).items():
            if not isinstance(value, FIXTURE) and not (name.startswith("test_") and inspect.iscoroutinefunction(value)):
                continue
            if _is_embedded(module) or _is_embedded(value) or name in without:
                left.discard(name)
                continue
            # One would hide the other, and never run.
            assert name not in namespace, f"{name!r} of {module.__name__} stands here already"
            namespace[name] = value
    assert not left, f"there are no such tests: {sorted(left)}"


def _is_embedded(test: Any) -> bool:
    marks = getattr(test, "pytestmark", ())
    return any(mark.name == "embedded" for mark in (marks if isinstance(marks, list | tuple) else (marks,)))
