from __future__ import annotations

from perdure.payloads.codec import cache


def test_what_was_used_last_is_kept() -> None:
    kept = cache.DecodeCache(10)
    kept.put(b"a", "A", 4)
    kept.put(b"b", "B", 4)
    assert kept.get(b"a") == "A"
    kept.put(b"c", "C", 4)
    assert kept.get(b"b") is None
    assert (kept.get(b"a"), kept.get(b"c")) == ("A", "C")


def test_what_is_over_the_limit_is_not_kept_and_drops_nothing_else() -> None:
    kept = cache.DecodeCache(10)
    kept.put(b"a", "A", 4)
    kept.put(b"b", "B", 11)
    assert kept.get(b"b") is None and kept.get(b"a") == "A"


def test_putting_again_counts_once() -> None:
    kept = cache.DecodeCache(10)
    for _ in range(5):
        kept.put(b"a", None, 6)
    kept.put(b"b", 1, 4)
    missing = object()
    assert kept.get(b"a", missing) is None and len(kept) == 2
