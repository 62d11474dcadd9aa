from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any

import agent_framework as af
import msgspec
import pydantic
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import errors
from perdure.payloads import codec, refs
from perdure.payloads.codec import builtin_types, registry


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Model(pydantic.BaseModel):
    item: Any
    more: Any = None


KNOWN = registry.Registry()
KNOWN.add(Color, Pair, Model)
CODEC = codec.Codec(KNOWN)

texts = st.text(st.characters(), max_size=20) | st.sampled_from(["$", "v", "x" * 600, "\ud800", "ü" * 300])
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=30)
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.sampled_from(Color)
)
values = st.recursive(
    hashable | st.floats() | st.sets(hashable, max_size=4) | st.builds(bytearray, st.binary(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Model, item=inner)
        | st.builds(lambda text, inner: af.Message("user", [text], additional_properties={"k": inner}), texts, inner)
    ),
    max_leaves=20,
)


def _shape(value: Any) -> Any:
    """A value as something that is equal only where types are, too."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [_shape(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(_shape(item)) for item in value)
    if kind is dict:
        return kind, [(_shape(key), _shape(item)) for key, item in value.items()]
    if isinstance(value, Pair | Model | af.Message | af.Content):
        return kind, [(name, _shape(item)) for name, item in sorted(vars(value).items())]
    return kind, value if isinstance(value, datetime.datetime | uuid.UUID | decimal.Decimal) else repr(value)


def _encode(value: Any) -> tuple[refs.Ref, dict[bytes, bytes]]:
    blobs: list[refs.Blob] = []
    ref = CODEC.encode(value, blobs, where="the value")
    return ref, {item.digest: item.body for item in blobs}


@given(values)
@settings(max_examples=300, deadline=None)
def test_a_value_comes_back_with_its_types_and_keeps_its_digest(value: Any) -> None:
    ref, bodies = _encode(value)
    back = CODEC.decode(ref, lambda digest, owner: bodies[digest])
    assert _shape(back) == _shape(value)
    assert _encode(back) == (ref, bodies)


@given(values, st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_body_is_a_codec_error_or_another_value(value: Any, data: st.DataObject) -> None:
    ref, bodies = _encode(value)
    body = bytearray(ref.inline if ref.inline is not None else bodies[ref.digest])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3) | st.sampled_from(TOKENS))

    def read(digest: bytes, owner: str) -> bytes:
        if digest not in bodies:
            raise errors.PayloadMissing("It is not there.")
        return bodies[digest]

    with contextlib.suppress(errors.CodecError, errors.PayloadMissing):
        CODEC.decode(refs.Ref(bytes(body)), read)


TAGS = ["tuple", "set", "dict", "datetime", "range", "ref", "messages", "type", "Content", "Message", "int", "pickle"]
TOKENS = [f'{{"$":"{tag}","v":'.encode() for tag in TAGS] + [b"null", b"[]", b"{}", b"1e999", b'""', b"}", b"]"]
trees = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {"$": st.sampled_from([*builtin_types.DECODERS, "Content", "type", "pickle"]) | inner},
            optional={key: inner for key in ("v", "f", "n", "tzinfo", "default_factory", "chunks", "$v", "contents")},
        )
        | st.fixed_dictionaries(
            {"$": st.sampled_from([f"@{cls.__module__}:{cls.__qualname__}" for cls in (Color, Pair, Model)])},
            optional={key: inner for key in ("left", "item", "n", "$v", "$set", "$extra", "$private", "$args")},
        )
    ),
    max_leaves=8,
)


@given(trees)
@settings(max_examples=600, deadline=None)
def test_a_made_up_tree_is_a_codec_error_or_a_value(tree: Any) -> None:
    def read(digest: bytes, owner: str) -> bytes:
        raise errors.PayloadMissing("It is not there.")

    with contextlib.suppress(errors.CodecError, errors.PayloadMissing):
        CODEC.decode(refs.Ref(b"t" + msgspec.json.encode(tree)), read)
