from __future__ import annotations

import random
from concurrent import futures

import pytest

from perdure import errors
from perdure.payloads import compression

TEXT = b"".join(b"Dear customer %d, your order %d is late.\n" % (n, n * n) for n in range(30_000))
NOISE = random.Random(1).randbytes(1 << 20)


@pytest.mark.parametrize("body", [b"", b"x", b"a" * 1024, TEXT, NOISE, NOISE[:2000]])
def test_a_packed_body_comes_back(body: bytes) -> None:
    assert compression.unpack(compression.pack(body)) == body


def test_text_shrinks_and_noise_is_left_alone() -> None:
    assert len(compression.pack(TEXT)) < len(TEXT) / 3
    assert len(compression.pack(NOISE)) == len(NOISE) + 1
    assert compression.pack(b"a" * 1024) == b"\x00" + b"a" * 1024


@pytest.mark.parametrize("packed", [b"", b"\x07abc", b"\x01not zstd", compression.pack(TEXT)[:-5]])
def test_damaged_bytes_are_an_error(packed: bytes) -> None:
    with pytest.raises(errors.CodecError):
        compression.unpack(packed)


def test_a_body_becomes_the_same_bytes_whatever_was_packed_before_and_beside_it() -> None:
    """Two that work on one run write a payload twice, and the second finds it there."""
    bodies = [TEXT[place : place + 2000 + place % 7000] for place in range(0, 400_000, 999)]
    alone = [compression.pack(body) for body in bodies]
    with futures.ThreadPoolExecutor(8) as threads:
        beside = list(threads.map(compression.pack, reversed(bodies)))
    assert beside == alone[::-1]
    assert [compression.unpack(packed) for packed in beside] == bodies[::-1]
