"""The committed shared state of a run: a paged persistent map plus the changes since it was last written.

A snapshot is small enough to travel with every activity. Its base is a hash trie whose pages are payloads, so
that two versions share every page in which they do not differ; what changed since stands in layers beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from perdure.payloads import refs

LAYER_LIMIT_BYTES: Final = 2048
"""What one activity changes travels up to this, where a host does not say otherwise."""

FOLD_BYTES: Final = 1024
"""Changes beyond this are folded into the base by the next activity, where a host does not say otherwise."""

FOLD_ENTRIES: Final = 16
"""How many inline changes one activity folds into the base, if what is left is little: bounds the pages it writes."""

LEAF_ENTRIES: Final = 8
HASH_BYTES: Final = 16
NIBBLES: Final = HASH_BYTES * 2

Read = Callable[[bytes, str], bytes]
"""Gives an encoded payload by digest and owner ("" for this run)."""

Change = tuple[str, refs.Ref | None]
"""A key and its new value; None deletes it."""


class Layer(msgspec.Struct, frozen=True, array_like=True):
    """Changes of one or more supersteps, later ones over earlier.

    Attributes:
        changes: The changes themselves, a key at most once; empty when stored.
        stored: Where they are kept when there are too many to travel.
    """

    changes: tuple[Change, ...] = ()
    stored: refs.Ref | None = None


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A version of the shared state.

    Attributes:
        base: Root page of the map; None while it is empty.
        layers: Changes over the base, oldest first.
    """

    base: refs.Ref | None = None
    layers: tuple[Layer, ...] = ()


class Folded(msgspec.Struct, frozen=True, array_like=True):
    """A new base for adoption.

    Attributes:
        over: The base it was made from; it is adopted only over that one.
        base: The new base.
        keys: The inline changes it contains; None when it contains every layer.
        layers: How many layers there were.
    """

    over: refs.Ref | None
    base: refs.Ref | None
    keys: tuple[str, ...] | None
    layers: int


class _Page(msgspec.Struct, frozen=True, array_like=True):
    """A page of the map: entries of a leaf, or sixteen children."""

    entries: tuple[tuple[str, refs.Ref], ...] = ()
    children: tuple[refs.Ref | None, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_pages = msgspec.msgpack.Decoder(_Page)
_changes = msgspec.msgpack.Decoder(tuple[Change, ...])


def lookup(snapshot: Snapshot, key: str, read: Read) -> refs.Ref | None:
    """Find a key's value; None if there is none."""
    for layer in reversed(snapshot.layers):
        for name, ref in changes(layer, read):
            if name == key:
                return ref
    page_ref = snapshot.base
    if page_ref is None:
        return None
    digits = _digits(key)
    depth = 0
    while page_ref is not None:
        page = _load(page_ref, read)
        if not page.children:
            return next((ref for name, ref in page.entries if name == key), None)
        page_ref = page.children[digits[depth]]
        depth += 1
    return None


def entries(snapshot: Snapshot, read: Read) -> dict[str, refs.Ref]:
    """Give every key and value."""
    found: dict[str, refs.Ref] = dict(_walk(snapshot.base, read))
    for layer in snapshot.layers:
        for name, ref in changes(layer, read):
            if ref is None:
                found.pop(name, None)
            else:
                found[name] = ref
    return found


def changes(layer: Layer, read: Read) -> tuple[Change, ...]:
    """Give a layer's changes, wherever they are."""
    return layer.changes if layer.stored is None else _changes.decode(_body(layer.stored, read))


def layer_of(written: Mapping[str, refs.Ref | None], blobs: list[refs.Blob], limit: int = LAYER_LIMIT_BYTES) -> Layer:
    """Make a layer of changes, stored if it is too large to travel."""
    pairs = tuple(written.items())
    if size(pairs) <= limit:
        return Layer(pairs)
    item = refs.blob(_encoder.encode(pairs))
    blobs.append(item)
    return Layer(stored=refs.stored(item))


def put(snapshot: Snapshot, layer: Layer) -> Snapshot:
    """Add a layer of later changes."""
    if layer.stored is None:
        if not layer.changes:
            return snapshot
        if snapshot.layers and snapshot.layers[-1].stored is None:
            merged = dict(snapshot.layers[-1].changes)
            for name, ref in layer.changes:
                merged.pop(name, None)
                merged[name] = ref
            return Snapshot(snapshot.base, (*snapshot.layers[:-1], Layer(tuple(merged.items()))))
    return Snapshot(snapshot.base, (*snapshot.layers, layer))


def put_all(snapshot: Snapshot, layers: Iterable[Layer]) -> Snapshot:
    """Add layers of later changes, one after another."""
    merged: dict[str, refs.Ref | None] = {}
    for layer in layers:
        if layer.stored is None:
            for name, ref in layer.changes:
                merged.pop(name, None)
                merged[name] = ref
        else:
            snapshot = put(put(snapshot, Layer(tuple(merged.items()))), layer)
            merged.clear()
    return put(snapshot, Layer(tuple(merged.items())))


def needs_folding(snapshot: Snapshot, limit: int = FOLD_BYTES) -> bool:
    """Say whether the next activity should write a new base."""
    return any(layer.stored is not None for layer in snapshot.layers) or (
        sum(size(layer.changes) for layer in snapshot.layers) > limit
    )


def fold(snapshot: Snapshot, read: Read, blobs: list[refs.Blob], limit: int = FOLD_BYTES) -> Folded:
    """Write a new base that contains some inline changes, or all layers if one of them is stored.

    What is left is little: a step that changes many keys has as many folded by the next.
    """
    everything: dict[str, refs.Ref | None] = {}
    for layer in snapshot.layers:
        everything.update(changes(layer, read))
    bulk = any(layer.stored is not None for layer in snapshot.layers)
    if not bulk:
        # Keys that share pages go together, so that a step writes few of them.
        by_page = sorted(everything, key=_hash)
        left = size(tuple(everything.items()))
        count = 0
        while count < len(by_page) and (count < FOLD_ENTRIES or left > limit):
            left -= size(((by_page[count], everything[by_page[count]]),))
            count += 1
        everything = {name: everything[name] for name in by_page[:count]}
    base = _write(snapshot.base, [(_digits(name), name, ref) for name, ref in everything.items()], 0, read, blobs)
    return Folded(snapshot.base, base, None if bulk else tuple(everything), len(snapshot.layers))


def adopt(snapshot: Snapshot, folded: Folded) -> Snapshot:
    """Take a new base that was made from this snapshot."""
    if folded.over != snapshot.base:
        return snapshot
    if folded.keys is None:
        return Snapshot(folded.base, snapshot.layers[folded.layers :])
    gone = set(folded.keys)
    kept = tuple(
        Layer(tuple(change for change in layer.changes if change[0] not in gone), layer.stored)
        for layer in snapshot.layers
    )
    return Snapshot(folded.base, tuple(layer for layer in kept if layer.changes or layer.stored))


def size(pairs: tuple[Change, ...]) -> int:
    """Estimate the encoded size of changes in bytes."""
    total = 0
    for name, ref in pairs:
        total += (len(name) if name.isascii() else len(name.encode("utf-8", "surrogatepass"))) + 8
        if ref is not None:
            total += len(ref.inline) if ref.inline is not None else refs.DIGEST_BYTES + 6
    return total


def _write(
    page_ref: refs.Ref | None,
    changed: list[tuple[bytes, str, refs.Ref | None]],
    depth: int,
    read: Read,
    blobs: list[refs.Blob],
) -> refs.Ref | None:
    page = _Page() if page_ref is None else _load(page_ref, read)
    if not page.children:
        merged = dict(page.entries)
        for _, name, ref in changed:
            if ref is None:
                merged.pop(name, None)
            else:
                merged[name] = ref
        if len(merged) <= LEAF_ENTRIES or depth >= NIBBLES:
            return _store(_Page(entries=tuple(sorted(merged.items(), key=_by_name))), blobs) if merged else None
        changed = [(_digits(name), name, ref) for name, ref in merged.items()]
        page = _Page(children=(None,) * 16)
    branches: dict[int, list[tuple[bytes, str, refs.Ref | None]]] = {}
    for change in changed:
        branches.setdefault(change[0][depth], []).append(change)
    children = list(page.children)
    for branch, part in branches.items():
        children[branch] = _write(children[branch], part, depth + 1, read, blobs)
    return _store(_Page(children=tuple(children)), blobs) if any(children) else None


def _store(page: _Page, blobs: list[refs.Blob]) -> refs.Ref:
    item = refs.blob(_encoder.encode(page))
    blobs.append(item)
    return refs.stored(item)


def _walk(page_ref: refs.Ref | None, read: Read) -> Iterator[tuple[str, refs.Ref]]:
    if page_ref is None:
        return
    page = _load(page_ref, read)
    yield from page.entries
    for child in page.children:
        yield from _walk(child, read)


def _load(ref: refs.Ref, read: Read) -> _Page:
    return _pages.decode(_body(ref, read))


def _body(ref: refs.Ref, read: Read) -> bytes:
    return ref.inline if ref.inline is not None else read(ref.digest, ref.owner)


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def _digits(key: str) -> bytes:
    return bytes(nibble for byte in _hash(key) for nibble in (byte >> 4, byte & 15))


def _by_name(entry: tuple[str, refs.Ref]) -> str:
    return entry[0]
