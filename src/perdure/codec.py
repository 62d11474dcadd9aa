"""Encode classes of your own in shared state, messages and results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from perdure.payloads.codec import registry

T = TypeVar("T")


def register(cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """Tell every app of this process how to encode a class.

    Args:
        cls: The class; its subclasses are registered on their own.
        encode: Gives a value that can be encoded: builtins, dataclasses, models.
        decode: Gives back an equal instance of the class.
    """
    registry.DEFAULTS.register(cls, encode, decode)
