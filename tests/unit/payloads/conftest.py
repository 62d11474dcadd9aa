"""Send values through the codec and compare what comes back, attribute by attribute."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from perdure.payloads import codec, refs
from perdure.payloads.codec import registry


class Trip:
    """A codec with a place for its blobs."""

    def __init__(self, *classes: type, **options: Any) -> None:
        self.registry = registry.Registry()
        self.registry.add(*classes)
        self.codec = codec.Codec(self.registry, **options)
        self.bodies: dict[bytes, bytes] = {}

    def encode(self, value: Any) -> refs.Ref:
        blobs: list[refs.Blob] = []
        ref = self.codec.encode(value, blobs, where="the value")
        for item in blobs:
            assert refs.digest(item.body) == item.digest
            self.bodies[item.digest] = item.body
        return ref

    def read(self, digest: bytes, owner: str) -> bytes:
        return self.bodies[digest]

    def decode(self, ref: refs.Ref) -> Any:
        return self.codec.decode(ref, self.read)

    def __call__(self, value: Any) -> Any:
        return self.decode(self.encode(value))


def same(left: Any, right: Any) -> bool:
    """Whether two values have the same types and contents, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or repr(left) == repr(right)
    if isinstance(left, dict):
        pairs = zip(left.items(), right.items(), strict=False)
        return len(left) == len(right) and all(same(a, b) and same(x, y) for (a, x), (b, y) in pairs)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    if hasattr(left, "__dict__") and not isinstance(left, type):
        return same(vars(left), vars(right))
    return bool(left == right)


@pytest.fixture(name="Trip")
def trip_class() -> type[Trip]:
    return Trip


@pytest.fixture(name="same")
def same_function() -> Callable[[Any, Any], bool]:
    return same
