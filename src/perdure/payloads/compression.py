"""Compression of payloads, where it pays."""

from __future__ import annotations

import collections
import functools
import os
import sys
from concurrent import futures
from typing import Final

from perdure import errors

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_RAW, _ZSTD = b"\x00", b"\x01"
_SAMPLE_BYTES = 4096
_LEVEL = 1
_PARALLEL_BYTES = 256 * 1024
_SMALL_BYTES = 4 * _SAMPLE_BYTES
_PROCESSORS = min(os.cpu_count() or 1, 4)

_idle: Final = collections.deque[zstd.ZstdCompressor](maxlen=_PROCESSORS)
"""No thread waits for another's; there are rarely more of them at work than processors."""

SMALLEST_BYTES: Final = 1024
PAYS: Final = 0.7
"""A body that is stored is compressed when that leaves at most this part of it; to save less takes longer than to write
more."""


def pack(body: bytes, *, smallest: int = SMALLEST_BYTES, pays: float = PAYS) -> bytes:
    """Give the bytes to keep for an encoded value: a format byte, then the body, compressed if it pays.

    Args:
        body: The encoded value.
        smallest: What is no longer than that, bytes, stays as it is.
        pays: It pays where at most this part of the body is left.
    """
    size = len(body)
    if size > smallest and _sample_shrinks(body, pays):
        packed = _compress(body)
        if len(packed) <= size * pays:
            return _ZSTD + packed
    return _RAW + body


def unpack(packed: bytes) -> bytes:
    """Give back what ``pack`` was given.

    Raises:
        CodecError: If the bytes were not made by ``pack``.
    """
    kind = packed[:1]
    if kind == _RAW:
        return packed[1:]
    if kind == _ZSTD:
        try:
            return zstd.decompress(memoryview(packed)[1:])
        except zstd.ZstdError as exc:
            raise errors.CodecError(f"A payload does not decompress: {exc}.") from exc
    raise errors.CodecError(f"A payload has the unknown format byte {kind!r}.", "A newer perdure may have written it.")


def _compress(body: bytes) -> bytes:
    """Compress in as many frames as there are processors for; their sequence decompresses as one."""
    if len(body) <= _SMALL_BYTES:
        return _compress_small(body)
    if len(body) < _PARALLEL_BYTES or _PROCESSORS < 2:
        return zstd.compress(body, _LEVEL)
    part = -(-len(body) // _PROCESSORS)
    view = memoryview(body)
    parts = [view[start : start + part] for start in range(0, len(body), part)]
    return b"".join(_pool().map(_compress_part, parts))


def _compress_small(body: bytes) -> bytes:
    """Compress by what has compressed before: to make it takes longer than a small body does."""
    try:
        compressor = _idle.pop()
    except IndexError:
        compressor = zstd.ZstdCompressor(_LEVEL)
    packed = compressor.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)
    _idle.append(compressor)
    return packed


def _compress_part(part: memoryview) -> bytes:
    return zstd.compress(part, _LEVEL)


@functools.cache
def _pool() -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(_PROCESSORS, thread_name_prefix="perdure-compression")


def _sample_shrinks(body: bytes, pays: float) -> bool:
    if len(body) <= 4 * _SAMPLE_BYTES:
        return True  # As cheap to try the whole.
    middle = len(body) // 2
    sample = body[:_SAMPLE_BYTES] + body[middle : middle + _SAMPLE_BYTES] + body[-_SAMPLE_BYTES:]
    return len(zstd.compress(sample, _LEVEL)) <= len(sample) * pays
