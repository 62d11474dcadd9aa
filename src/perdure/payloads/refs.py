"""References to encoded user values: the only form in which values travel through an engine."""

from __future__ import annotations

import hashlib

import msgspec

INLINE_LIMIT_BYTES = 512
"""An encoded value up to this size may travel inside a message; a larger one is stored."""

DIGEST_BYTES = 20


class Ref(msgspec.Struct, frozen=True, array_like=True):
    """One encoded user value: carried inline, or stored under its digest.

    Attributes:
        inline: The encoded value itself, or None when it is stored.
        digest: SHA-256 of the encoded value, its first 160 bits; empty when inline.
        size: Length of the encoded value in bytes.
        owner: The run whose payloads hold it; empty for the run that holds this reference.
    """

    inline: bytes | None
    digest: bytes = b""
    size: int = 0
    owner: str = ""


class Blob(msgspec.Struct, frozen=True):
    """An encoded value on its way to the store.

    Attributes:
        digest: SHA-256 of ``body``, its first 160 bits.
        body: The encoded value, uncompressed.
    """

    digest: bytes
    body: bytes


def digest(body: bytes) -> bytes:
    """Name an encoded value: the first 160 bits of SHA-256, which processors have instructions for."""
    return hashlib.sha256(body).digest()[:DIGEST_BYTES]


def blob(body: bytes) -> Blob:
    """Wrap an encoded value for the store."""
    return Blob(digest(body), body)


def stored(item: Blob, owner: str = "") -> Ref:
    """Refer to a blob."""
    return Ref(None, item.digest, len(item.body), owner)
