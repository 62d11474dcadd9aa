from __future__ import annotations

from collections.abc import Mapping

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.payloads import refs
from perdure.workflow import snapshot

KEYS = st.one_of(
    st.sampled_from([f"key{number}" for number in range(40)]),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["é" * 50, "x" * 300, "\x00executor:a", "a/b", "key1 "]),
)
VALUES = st.one_of(st.none(), st.binary(max_size=80), st.integers(0, 2**40).map(lambda n: n.to_bytes(8, "big") * 40))
WRITES = st.dictionaries(KEYS, VALUES, max_size=30)


class Store:
    """Payloads by digest; counts what is written and read."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}
        self.written = 0
        self.reads: list[bytes] = []

    def add(self, blobs: list[refs.Blob]) -> None:
        for item in blobs:
            self.written += item.digest not in self.bodies
            self.bodies[item.digest] = item.body
        blobs.clear()

    def read(self, digest: bytes, owner: str) -> bytes:
        self.reads.append(digest)
        return self.bodies[digest]


def ref_of(value: bytes | None) -> refs.Ref | None:
    if value is None:
        return None
    return refs.Ref(value) if len(value) <= 64 else refs.Ref(None, refs.digest(value), len(value))


class Run:
    """A snapshot and the dictionary that it must equal, through supersteps as the fold takes them."""

    def __init__(self) -> None:
        self.store = Store()
        self.snapshot = snapshot.Snapshot()
        self.model: dict[str, refs.Ref] = {}

    def superstep(self, writers: list[Mapping[str, bytes | None]]) -> None:
        """Fold if it is due, in the first activity; then take each writer's changes."""
        blobs: list[refs.Blob] = []
        folded = None
        if snapshot.needs_folding(self.snapshot):
            folded = snapshot.fold(self.snapshot, self.store.read, blobs)
        layers = [
            snapshot.layer_of({key: ref_of(value) for key, value in written.items()}, blobs)
            for written in writers
            if written
        ]
        self.store.add(blobs)
        if folded is not None:
            before = snapshot.entries(self.snapshot, self.store.read)
            self.snapshot = snapshot.adopt(self.snapshot, folded)
            assert snapshot.entries(self.snapshot, self.store.read) == before
        for layer in layers:
            self.snapshot = snapshot.put(self.snapshot, layer)
        for written in writers:
            for key, value in written.items():
                ref = ref_of(value)
                if ref is None:
                    self.model.pop(key, None)
                else:
                    self.model[key] = ref

    def size(self) -> int:
        """What travels with an activity, in bytes."""
        return len(msgspec.msgpack.encode(self.snapshot))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(WRITES, min_size=1, max_size=3), max_size=12))
def test_snapshot_is_a_dictionary(supersteps: list[list[dict[str, bytes | None]]]) -> None:
    """The committed shared state equals a plain dictionary after any sequence of writes, deletes and folds."""
    run = Run()
    for writers in supersteps:
        run.superstep(list(writers))
        assert snapshot.entries(run.snapshot, run.store.read) == run.model
        for key in [*run.model, *(key for written in writers for key in written), "never"]:
            assert snapshot.lookup(run.snapshot, key, run.store.read) == run.model.get(key)


@settings(max_examples=50, deadline=None)
@given(WRITES, WRITES)
def test_base_made_from_another_snapshot_is_not_adopted(
    one: dict[str, bytes | None], two: dict[str, bytes | None]
) -> None:
    """A base that was made over another base than the run's is left alone."""
    first, second = Run(), Run()
    first.superstep([{"a": b"1"}])
    second.superstep([{**one, "b": b"2"}])
    blobs: list[refs.Blob] = []
    folded = snapshot.fold(first.snapshot, first.store.read, blobs)
    moved = snapshot.adopt(first.snapshot, folded)
    assert moved.base is not None
    first.store.add(blobs)
    again = snapshot.fold(snapshot.Snapshot(moved.base, second.snapshot.layers), first.store.read, blobs)
    assert snapshot.adopt(second.snapshot, again) == second.snapshot


def _filled(count: int) -> Run:
    run = Run()
    run.superstep([{f"key{number}": number.to_bytes(8, "big") * 20 for number in range(count)}])
    while snapshot.needs_folding(run.snapshot):
        run.superstep([{}])
    return run


def test_one_change_among_thousands_of_keys_writes_a_few_pages() -> None:
    """Two versions of the shared state share every page in which they do not differ."""
    run = _filled(3_000)
    before = run.store.written
    pages = set(run.store.bodies)
    for round in range(20):
        run.superstep([{f"key{round * 37 + part}": b"changed" * 20 for part in range(8)}])
        assert run.size() <= 4096
    while snapshot.needs_folding(run.snapshot):
        run.superstep([{}])
    # 160 changes: each writes its leaf, and the few pages above it are shared by the changes of a fold.
    assert run.store.written - before <= 20 * (8 * 3 + 8)
    assert snapshot.entries(run.snapshot, run.store.read) == run.model
    reachable = _pages(run)
    assert len(reachable & pages) > len(reachable) / 2


def test_lookup_reads_a_few_pages() -> None:
    """Reading one key of many does not load the others."""
    run = _filled(3_000)
    run.store.reads.clear()
    assert snapshot.lookup(run.snapshot, "key77", run.store.read) == run.model["key77"]
    assert len(run.store.reads) <= 6


def test_what_travels_does_not_grow_with_the_keys_that_each_step_writes() -> None:
    """What passes through the engine per step does not grow with the number of keys or the run's past."""
    run = Run()
    for step in range(100):
        run.superstep([{f"step {step} key {number}": b"v" for number in range(60)}])
        assert run.size() <= 6 * 1024, step
    assert snapshot.entries(run.snapshot, run.store.read) == run.model


def test_what_travels_does_not_grow_with_one_large_write() -> None:
    """What passes through the engine per step stays small, however many keys one step writes."""
    run = Run()
    run.superstep([{f"key{number}": b"v" for number in range(5_000)}])
    assert run.size() <= 4096
    run.superstep([{"one": b"more"}])
    assert run.size() <= 4096
    assert snapshot.entries(run.snapshot, run.store.read) == run.model


def test_long_names_count_in_bytes() -> None:
    """What passes through the engine per step stays small, whatever alphabet its keys are written in."""
    run = Run()
    run.superstep([{"語" * 600 + str(number): b"v" for number in range(3)}])
    assert run.size() <= 4096


def _pages(run: Run) -> set[bytes]:
    run.store.reads.clear()
    snapshot.entries(snapshot.Snapshot(run.snapshot.base), run.store.read)
    return set(run.store.reads)
