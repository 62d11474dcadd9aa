from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from typing import Any, NamedTuple

import agent_framework
import msgspec
import pydantic
import pytest

from perdure import errors
from perdure.payloads import codec


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: Any = None


class Model(pydantic.BaseModel):
    point: Point
    hidden: str = pydantic.Field(default="h", exclude=True)
    password: pydantic.SecretStr = pydantic.SecretStr("p")


class Pair(NamedTuple):
    a: int
    b: Color


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (float("nan"), None),
        (b"ab", "YWI="),
        ((1, {2}), [1, [2]]),
        (datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), "2024-01-02T00:00:00+00:00"),
        (datetime.timedelta(seconds=90), 90.0),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({1: Color.RED, Color.RED: 1}, {"1": "red", "red": 1}),
        (Point(1, [Color.RED]), {"x": 1, "when": ["red"]}),
        (Model(point=Point(2)), {"point": {"x": 2, "when": None}, "password": "**********"}),
        (Pair(1, Color.RED), {"a": 1, "b": "red"}),
        (Point, "Point"),
        ({"$": "tuple", "v": []}, {"$": "tuple", "v": []}),
        ("\ud800x", "?x"),
    ],
)
def test_values_are_shown_as_plain_json(value: Any, expected: Any) -> None:
    shown = codec.to_plain(value)
    assert shown == expected
    msgspec.json.encode(shown)


def test_framework_objects_are_shown_as_their_own_dictionary() -> None:
    message = agent_framework.Message("user", ["hi"], author_name="a")
    assert codec.to_plain(message) == message.to_dict()
    request = agent_framework.AgentExecutorRequest(messages=[message])
    assert codec.to_plain(request) == {"messages": [message.to_dict()], "should_respond": True}


def test_an_endless_value_is_an_error() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(errors.CodecError, match="contains itself"):
        codec.to_plain(value)


def test_a_stored_value_is_shown_like_a_live_one(Trip: Any) -> None:
    trip = Trip(Point)
    value = {"p": Point(1, "x" * 1000)}
    assert trip.codec.plain(trip.encode(value), trip.read) == {"p": {"x": 1, "when": "x" * 1000}}
