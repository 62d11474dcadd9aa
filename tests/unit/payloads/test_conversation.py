from __future__ import annotations

from typing import Any

import agent_framework as af
import pytest

from perdure import errors
from perdure.payloads import refs
from perdure.payloads.codec import conversation


def _conversation(count: int) -> list[af.Message]:
    return [af.Message("user", [f"This is what was said in turn {n}. " * 4], message_id=f"m{n}") for n in range(count)]


SIZES = [0, 1, 7, 8, 9, 255, 256, 257, 1000]


@pytest.mark.parametrize("count", SIZES)
def test_a_conversation_of_any_length_comes_back(count: int, Trip: Any, same: Any) -> None:
    messages = _conversation(count)
    assert same(Trip()({"messages": messages})["messages"], messages)


def test_heights_are_joined_in_order(Trip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "MESSAGES", 2)
    monkeypatch.setattr(conversation, "CHUNKS", 2)
    for count in range(40):
        back = Trip()(_conversation(count))
        assert [message.message_id for message in back] == [f"m{n}" for n in range(count)]


@pytest.mark.parametrize("count", [1000, 1007, 1023, 1024, 1048])
def test_one_more_message_adds_less_than_4_kib(count: int, Trip: Any) -> None:
    trip = Trip()
    messages = _conversation(count + 1)
    trip.encode({"messages": messages[:count]})
    before = sum(map(len, trip.bodies.values()))
    trip.encode({"messages": messages})
    assert sum(map(len, trip.bodies.values())) - before < 4096


def test_a_message_list_of_mixed_types_is_an_ordinary_list(Trip: Any, same: Any) -> None:
    mixed = [*_conversation(9), "and a string"]
    assert same(Trip()(mixed), mixed)


def test_a_tree_without_end_is_refused(Trip: Any) -> None:
    trip = Trip()
    body = b't{"$":"messages","v":[],"chunks":[[],["' + b"A" * 27 + b'="]]}'
    with pytest.raises(errors.CodecError):
        trip.codec.decode(refs.Ref(body), lambda digest, owner: body)
