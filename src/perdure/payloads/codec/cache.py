"""Decoded values, kept by digest."""

from __future__ import annotations

import collections
from typing import Any


class DecodeCache:
    """The most recently used decoded values. Put in only what nobody can change: it is handed out as it is.

    Args:
        limit_bytes: Total size of what is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._kept: collections.OrderedDict[bytes, tuple[Any, int]] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, digest: bytes, default: Any = None) -> Any:
        """Give the value of this digest, or the default if it is not kept."""
        item = self._kept.get(digest)
        if item is None:
            return default
        self._kept.move_to_end(digest)
        return item[0]

    def put(self, digest: bytes, value: Any, size: int) -> None:
        """Keep a value of so many bytes, dropping those not used for longest; one over the limit is not kept."""
        old = self._kept.pop(digest, None)
        if old is not None:
            self._size -= old[1]
        if size > self._limit:
            return
        self._kept[digest] = value, size
        self._size += size
        while self._size > self._limit:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._size -= dropped
