from __future__ import annotations

import random

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
