"""The values of one run: encoded by the app's codec, read from the store, with what was seen lately at hand."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perdure.payloads import codec, refs, store
from perdure.payloads.codec import cache
from perdure.workflow import snapshot

CACHE_BYTES: Final = 64 * 1024 * 1024

_IMMUTABLE: Final = (str, bytes)


class Inline(NamedTuple):
    """What values may take, encoded, and yet travel inside what refers to them; bytes.

    Attributes:
        message: A message that an executor sends.
        state: A value of the shared state: by default what takes no more room than a reference.
        executor: The state of an executor.
        changes: What one activity changes of the shared state and of executors' states.
        delta: What was changed since the snapshot's base was written.
    """

    message: int = refs.INLINE_LIMIT_BYTES
    state: int = 64
    executor: int = refs.INLINE_LIMIT_BYTES
    changes: int = snapshot.LAYER_LIMIT_BYTES
    delta: int = snapshot.FOLD_BYTES


INLINE: Final = Inline()


class Shelf:
    """What all runs of an app share: the codec, the store, and what was read or written lately.

    Args:
        coder: The app's codec.
        payloads: Where payloads are kept.
        inline: What is not kept there.
    """

    def __init__(self, coder: codec.Codec, payloads: store.PayloadStore, inline: Inline = INLINE) -> None:
        self.codec = coder
        self.store = payloads
        self.inline = inline
        self.bodies = cache.DecodeCache(CACHE_BYTES)
        self.texts = cache.DecodeCache(CACHE_BYTES)


class RunValues:
    """How one run's values are encoded, decoded and read.

    Args:
        shelf: What the runs of the app share.
        owner: The run that owns the payloads.
    """

    __slots__ = ("_owner", "_shelf")

    def __init__(self, shelf: Shelf, owner: str) -> None:
        self._shelf = shelf
        self._owner = owner

    @property
    def owner(self) -> str:
        """The run that owns the payloads."""
        return self._owner

    @property
    def inline(self) -> Inline:
        """What travels inside what refers to it."""
        return self._shelf.inline

    def encode(
        self, value: Any, blobs: list[refs.Blob], *, where: str, inline_limit: int = refs.INLINE_LIMIT_BYTES
    ) -> refs.Ref:
        """Encode a value; what is to be stored is appended to ``blobs``.

        Raises:
            CodecError: If it cannot be encoded; it says where and what to do.
        """
        ref = self._shelf.codec.encode(value, blobs, where=where, inline_limit=inline_limit)
        if ref.inline is None and isinstance(value, _IMMUTABLE):
            self._shelf.texts.put(ref.digest, value, ref.size)
        return ref

    def decode(self, ref: refs.Ref) -> Any:
        """Give back a value; the caller may change it.

        Raises:
            PayloadMissing: If a payload is not in the store.
            CodecError: If its class is not known any more.
        """
        if ref.inline is None:
            text = self._shelf.texts.get(ref.digest)
            if text is not None:
                return text
        value = self._shelf.codec.decode(ref, self.read)
        if ref.inline is None and type(value) in _IMMUTABLE:
            self._shelf.texts.put(ref.digest, value, ref.size)
        return value

    def plain(self, ref: refs.Ref) -> Any:
        """Give a value as plain JSON for clients."""
        return self._shelf.codec.plain(ref, self.read)

    def read(self, digest: bytes, owner: str = "") -> bytes:
        """Give an encoded payload.

        Raises:
            PayloadMissing: If it is not in the store.
        """
        body: bytes | None = self._shelf.bodies.get(digest)
        if body is None:
            body = self._shelf.store.read(owner or self._owner, digest)
            self._shelf.bodies.put(digest, body, len(body))
        return body

    def remember(self, blobs: list[refs.Blob]) -> None:
        """Keep what was just encoded at hand for the next step."""
        for item in blobs:
            self._shelf.bodies.put(item.digest, item.body, len(item.body))
