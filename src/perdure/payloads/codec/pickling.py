"""Pickles, for an app that opted in: authenticated as this hub's own before anything is read from them."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from typing import Any

from perdure import errors
from perdure.payloads.codec import encoding

_MAC_BYTES = 32
_LONGEST_KEY = 64


class Pickling:
    """Makes and reads authenticated pickles.

    Args:
        key: The hub's secret, of 16 to 64 bytes.
    """

    def __init__(self, key: bytes | None) -> None:
        if key is None or not 16 <= len(key) <= _LONGEST_KEY:
            raise errors.UsageError("allow_pickle=True needs a pickle key of 16 to 64 bytes.")
        self._key = key

    def dumps(self, value: object) -> bytes:
        """Pickle a value, behind the code that authenticates it."""
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception as exc:
            raise encoding.Refused(value, f"cannot be pickled ({exc})", encoding.REMEDY) from exc
        return self._mac(data) + data

    def loads(self, body: bytes) -> Any:
        """Give back a value that ``dumps`` pickled.

        Raises:
            CodecError: If the bytes were not made with this key, or do not unpickle.
        """
        mac, data = body[:_MAC_BYTES], body[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(data)):
            raise errors.CodecError(
                "A pickled payload was not written by this hub; it was not read.",
                "The hub's pickle key changed, or somebody else wrote the payload.",
            )
        try:
            return pickle.loads(data)
        except Exception as exc:
            raise errors.CodecError(f"A pickled payload does not unpickle: {exc!r}.") from exc

    def _mac(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=_MAC_BYTES, key=self._key, person=b"perdure.pickle").digest()
