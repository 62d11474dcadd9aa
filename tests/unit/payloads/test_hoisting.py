from __future__ import annotations

import dataclasses
from typing import Any

import agent_framework as af
import pytest

from perdure.payloads import refs


@dataclasses.dataclass
class Mail:
    id: int
    body: Any


@pytest.fixture
def trip(Trip: Any) -> Any:
    return Trip(Mail)


@pytest.mark.parametrize("text", ["x" * 20_000_000, "ü" * 300, "\ud800" + "x" * 600, b"\x00" * 600])
def test_a_large_text_is_stored_once_wherever_it_is(text: Any, trip: Any) -> None:
    whole = trip.encode(text)
    field = trip.encode(Mail(1, text))
    assert trip.decode(field) == Mail(1, text)
    assert whole.digest in trip.bodies
    assert sum(len(body) for body in trip.bodies.values()) < whole.size + 300


def test_a_message_is_stored_once_wherever_it_is(trip: Any) -> None:
    message = af.Message("user", [af.Content.from_text("a" * 100) for _ in range(9)])
    whole = trip.encode(message)
    trip.encode(Mail(1, {"message": message}))
    trip.encode([message, "x"])
    assert whole.digest in trip.bodies
    assert len(trip.bodies) == 3
    assert sum(len(body) for body in trip.bodies.values()) < whole.size + 400


def test_small_parts_stay_in_the_whole(trip: Any) -> None:
    assert trip.encode(Mail(1, ["x" * 100, af.Message("user", ["hi"])])).inline is not None


def test_the_limit_is_that_of_the_encoded_part(trip: Any) -> None:
    for count in (511, 512):
        blobs: list[refs.Blob] = []
        trip.codec.encode(Mail(1, "x" * count), blobs, where="a mail")
        assert (b"s" + b"x" * count in [item.body for item in blobs]) is (count == 512)


def test_one_encode_gives_each_blob_once_parts_first(trip: Any) -> None:
    blobs: list[refs.Blob] = []
    ref = trip.codec.encode(["x" * 600, "x" * 600, Mail(1, "x" * 600)], blobs, where="")
    assert len(blobs) == 2
    assert blobs[-1].digest == ref.digest
