"""Pages of outputs: what one step yielded, as references in one payload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from perdure.payloads import refs
from perdure.workflow import snapshot

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[refs.Ref])


def store(outputs: list[refs.Ref], blobs: list[refs.Blob]) -> refs.Ref | None:
    """Make a page; None if there is nothing on it."""
    if not outputs:
        return None
    body = _encoder.encode(outputs)
    if len(body) <= refs.INLINE_LIMIT_BYTES:
        return refs.Ref(body)
    item = refs.blob(body)
    blobs.append(item)
    return refs.stored(item)


def read_all(seen: snapshot.Snapshot, key: Callable[[int], str], count: int, read: snapshot.Read) -> Iterator[refs.Ref]:
    """Give what stands on pages, in order.

    Args:
        seen: The snapshot that holds them.
        key: Gives the key of a page by its number.
        count: How many there are.
        read: Gives a payload.
    """
    for number in range(count):
        page = snapshot.lookup(seen, key(number), read)
        if page is not None:
            yield from _decoder.decode(page.inline if page.inline is not None else read(page.digest, page.owner))
