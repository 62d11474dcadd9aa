"""What packages offer and load when it is first asked for: importing them stays cheap."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


def attributes(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: Its name.
        homes: The modules that what it offers comes from, by the names it has there and here.
    """
    here = vars(sys.modules[package])

    def getattr_(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = here[name] = getattr(importlib.import_module(homes[name]), name)
        return value

    return getattr_, lambda: sorted({*here, *homes})
