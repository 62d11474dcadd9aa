from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import pathlib
import threading
import typing
import uuid
import zoneinfo
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import pydantic
import pytest

from perdure import codec as public_codec
from perdure import errors
from perdure.payloads import codec, refs
from perdure.payloads.codec import registry

T = TypeVar("T")


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = ("b", 2)


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    ON = "on"


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    inner: Point


@dataclasses.dataclass(kw_only=True)
class Derived(Point, Generic[T]):
    item: T
    total: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.total = -1

    @functools.cached_property
    def doubled(self) -> int:
        return self.total * 2


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    a: int
    b: Any = msgspec.UNSET


class Inner(pydantic.BaseModel):
    when: datetime.datetime


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    name: str
    inner: Inner | None = None
    tags: tuple[str, ...] = ()
    _secret: int = pydantic.PrivateAttr(default=0)

    @pydantic.field_validator("name")
    @classmethod
    def _once(cls, value: str) -> str:
        return value + "!"


class Box(pydantic.BaseModel, Generic[T]):
    item: T


class Ids(pydantic.RootModel[list[int]]):
    pass


class Plain:
    def __init__(self, needed: Any) -> None:
        self.needed = needed


class Slotted:
    __slots__ = ("__hidden", "maybe", "shown")

    def __init__(self) -> None:
        self.shown = 1
        self.__hidden = {"a": 2}

    def hidden(self) -> Any:
        return self.__hidden


class Stateful:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 3

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # As pickle-minded classes do.
        self.count = state["count"]


class Name(str):
    pass


class Numbers(list[int]):
    pass


class Url:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lock = threading.Lock()


class LocalState(threading.local):
    pass


CLASSES = (
    Color,
    Level,
    Mode,
    Bits,
    Point,
    Frozen,
    Derived,
    Pair,
    Record,
    Inner,
    Model,
    Box,
    Ids,
    Plain,
    Slotted,
    Stateful,
)
OTHER = (Name, Numbers)


@pytest.fixture
def trip(Trip: Any) -> Any:
    return Trip(*CLASSES, *OTHER)


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
BUILTIN_VALUES = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    10**5000,
    1.0,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "grün 🎉",
    "\ud800 alone",
    b"",
    b"\x00\xff",
    bytearray(b"x"),
    {},
    {"a": {"b": [1, 2.0, None, "x"]}},
    {"$": "tuple", "v": [1]},
    {"$": {"$": 1}},
    {1: "a", "1": "b", None: 0, (1, 2): [3], 2.5: {}, True if False else "t": 1},
    {"\ud800": "\udfff"},
    {"b": 1, "a": 2},
    (),
    (1, (2, [3])),
    {1, "a", (2, 3)},
    frozenset({frozenset({1}), "x"}),
    datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
    datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30), "NST")),
    datetime.date(1, 1, 1),
    datetime.time(23, 59, 59, 999999, tzinfo=datetime.UTC),
    datetime.timedelta(days=-1, microseconds=7),
    datetime.timezone(datetime.timedelta(hours=2)),
    BERLIN,
    decimal.Decimal("1.10"),
    decimal.Decimal("-Infinity"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=7),
    complex(-0.0, 2),
    pathlib.Path("/tmp/x"),
    pathlib.PureWindowsPath("C:/x"),
    ipaddress.ip_address("::1"),
    pydantic.HttpUrl("https://example.org/a?b=c"),
    range(1, 10, 3),
    slice(1, None, 2),
    collections.deque([1, 2], maxlen=3),
    collections.defaultdict(list, {"a": [1]}),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.Counter("hello"),
    [int, list[str], str | None, dict[str, int | None], typing.Any, typing.Literal["a", 1]],
    ...,
]


@pytest.mark.parametrize("value", BUILTIN_VALUES, ids=lambda value: type(value).__name__)
def test_builtin_values_come_back_with_value_and_type(value: Any, trip: Any, same: Any) -> None:
    assert same(trip(value), value)
    assert same(trip({"in": [value]}), {"in": [value]})


def test_a_collection_keeps_its_order_and_settings(trip: Any) -> None:
    assert list(trip(collections.OrderedDict([("b", 1), ("a", 2)]))) == ["b", "a"]
    assert trip(collections.deque([1], maxlen=3)).maxlen == 3
    assert trip(collections.defaultdict(list)).default_factory is list
    assert list(trip({3: 0, 1: 0})) == [3, 1]
    late = trip(datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1))
    assert late.fold == 1 and late.tzinfo is BERLIN


def _model() -> Model:
    made = Model(name="n", inner=Inner(when="2024-01-01T00:00:00+02:00"), more=[1])  # type: ignore[arg-type, call-arg]
    made._secret = 5
    return made


def _derived() -> Derived[list[Point]]:
    made = Derived[list[Point]](x=1, item=[Point(2)])
    made.total = 40
    return made


CLASS_VALUES = [
    Color.CRIMSON,
    Color.BLUE,
    Level.LOW,
    Mode.ON,
    Bits.A | Bits.B,
    Point(1, Point(2, (3,))),
    Frozen("f", Point(1)),
    Pair(1),
    Record(a=1),
    Record(a=1, b=[Pair(2)]),
    _model(),
    Ids([1, 2]),
    Box[int](item=1),
    Box[list[Point]](item=[Point(1)]),
    Name("n"),
    {Name("k"): 1},
    {"k": Numbers([1, 2])},
]


@pytest.mark.parametrize("value", CLASS_VALUES, ids=lambda value: type(value).__qualname__)
def test_instances_come_back_with_value_and_type(value: Any, trip: Any) -> None:
    back = trip([value])[0]
    assert back == value
    assert type(back) is type(value)


def test_a_dataclass_is_rebuilt_without_its_constructor(trip: Any) -> None:
    value = _derived()
    assert value.doubled == 80
    back = trip(value)
    assert back == value and back.total == 40
    assert "doubled" not in vars(back)


def test_a_missing_field_takes_the_default_of_the_newer_class(trip: Any) -> None:
    ref = trip.encode(Point(1))
    assert ref.inline is not None
    older = refs.Ref(ref.inline.replace(b',"y":null', b""))
    assert older != ref
    assert trip.decode(older) == Point(1, None)


def test_a_model_is_rebuilt_without_its_validators(trip: Any) -> None:
    value = _model()
    back = trip(value)
    assert back.name == "n!"
    assert back._secret == 5
    assert back.model_fields_set == value.model_fields_set == {"name", "inner", "more"}
    assert back.__pydantic_extra__ == {"more": [1]}
    back.name = "changed"


def test_plain_classes_keep_their_attributes(trip: Any) -> None:
    back = trip(Plain([Point(1)]))
    assert type(back) is Plain and back.needed == [Point(1)]
    slotted = trip(Slotted())
    assert slotted.shown == 1 and slotted.hidden() == {"a": 2} and not hasattr(slotted, "maybe")


def test_a_class_with_its_own_state_is_asked_for_it(trip: Any) -> None:
    value = Stateful()
    value.count = 9
    assert trip(value).count == 9


@pytest.mark.parametrize(
    ("value", "path", "named"),
    [
        ({"items": [1, 2, 3, Plain(object())]}, "['items'][3].needed", "builtins.object"),
        (Point(1, {"lock": (threading.Lock(),)}), ".y['lock'][0]", "_thread.lock"),
        ([lambda: None], "[0]", "builtins.function"),
        ({1: {object}, 2: object()}, "[2]", "builtins.object"),
    ],
)
def test_what_has_no_encoding_is_named_with_its_place(value: Any, path: str, named: str, trip: Any) -> None:
    with pytest.raises(errors.CodecError) as caught:
        trip.codec.encode(value, [], where="shared state key 'client'")
    assert caught.value.message.startswith(f"Shared state key 'client' at {path} holds a {named}")
    assert "types=[...]" in caught.value.remedy and "perdure.codec.register" in caught.value.remedy


def test_a_subclass_is_never_flattened_to_its_base(Trip: Any) -> None:
    for value in (Name("n"), Numbers([1]), Pair(1), Level.LOW):
        with pytest.raises(errors.CodecError, match="has no encoding"):
            Trip().encode([value])


def test_state_below_python_is_not_lost_silently(Trip: Any) -> None:
    with pytest.raises(errors.CodecError, match="cannot be seen from Python"):
        Trip(LocalState).encode(LocalState())


def test_a_class_made_inside_a_function_is_refused_with_the_reason(Trip: Any, tmp_path: pathlib.Path) -> None:
    class Local:
        pass

    with pytest.raises(errors.CodecError, match="made inside a function"):
        Trip().encode(Local())
    assert type(Trip(Local)(Local())) is Local


def test_an_unknown_class_name_is_refused(trip: Any) -> None:
    for name in (b"os:system", b"subprocess:Popen", b"builtins:object", b"nowhere:Thing", b"pathlib:Path", b""):
        with pytest.raises(errors.CodecError, match="not known here"):
            trip.decode(refs.Ref(b't{"$":"@' + name + b'"}'))


def test_an_unknown_module_is_not_imported(trip: Any) -> None:
    import sys

    with pytest.raises(errors.CodecError):
        trip.decode(refs.Ref(b't{"$":"@antigravity:geohash"}'))
    assert "antigravity" not in sys.modules


def test_a_cycle_is_named_as_one(trip: Any) -> None:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    with pytest.raises(errors.CodecError, match="contains itself"):
        trip.encode(value)
    point = Point(1)
    point.y = point
    with pytest.raises(errors.CodecError, match="contains itself"):
        trip.encode(point)


def test_a_value_held_twice_is_no_cycle(trip: Any) -> None:
    inner = [1]
    back = trip({"a": inner, "b": inner})
    assert back == {"a": [1], "b": [1]} and back["a"] is not back["b"]


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}, lambda v: Point(1, v), lambda v: (v,)])
def test_nesting_works_to_200_levels_and_fails_clearly_beyond(wrap: Any, trip: Any) -> None:
    value: Any = 1
    for _ in range(200):
        value = wrap(value)
    assert trip(value) == value
    for _ in range(3000):
        value = wrap(value)
    with pytest.raises(errors.CodecError, match="levels deep"):
        trip.encode(value)


def test_equal_values_have_one_digest(trip: Any) -> None:
    ref = trip.encode({"s": {"b", "a", "c"}, "p": Point(1, "x" * 600)})
    assert trip.encode(trip.decode(ref)) == ref


def test_only_small_values_travel_inline(trip: Any) -> None:
    assert trip.encode("x" * 511).inline is not None
    ref = trip.encode("x" * 512)
    assert ref.inline is None and ref.size == 513
    assert len(trip.bodies) == 1
    assert trip.codec.encode(5, [], where="", inline_limit=0).inline is None


def test_the_owner_of_a_value_owns_its_parts(Trip: Any) -> None:
    there = Trip()
    ref = there.encode({"long": "x" * 1000})
    asked = []

    def read(digest: bytes, owner: str) -> bytes:
        asked.append(owner)
        body: bytes = there.bodies[digest]
        return body

    borrowed = refs.Ref(None, ref.digest, ref.size, "other-run")
    assert there.codec.decode(borrowed, read) == {"long": "x" * 1000}
    assert asked == ["other-run", "other-run"]


def test_what_reading_raises_is_passed_on(trip: Any) -> None:
    ref = trip.encode(["x" * 1000])
    part = trip.bodies[ref.digest]

    def read(digest: bytes, owner: str) -> bytes:
        if digest == ref.digest:
            body: bytes = part
            return body
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        trip.codec.decode(ref, read)


def test_a_class_of_ones_own_is_encoded_by_its_functions(Trip: Any) -> None:
    trip = Trip()
    trip.registry.register(Url, lambda url: {"text": url.text}, lambda state: Url(state["text"]))
    back = trip([Url("a"), Url("b")])
    assert [type(url) for url in back] == [Url, Url] and back[1].text == "b"
    assert trip.codec.plain(trip.encode({"u": Url("a")}), trip.read) == {"u": {"text": "a"}}


def test_a_codec_registered_for_the_process_holds_everywhere(Trip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.DEFAULTS, "customs", {})
    monkeypatch.setattr(registry.DEFAULTS, "names", {})
    trip = Trip()
    with pytest.raises(errors.CodecError):
        trip.encode(Url("a"))
    public_codec.register(Url, lambda url: url.text, Url)
    assert trip(Url("a")).text == "a"
    assert codec.to_plain(Url("a")) == "a"


def test_a_failing_codec_of_ones_own_is_named(Trip: Any) -> None:
    trip = Trip()
    trip.registry.register(Url, lambda url: 1 / 0, lambda state: state.missing)
    with pytest.raises(errors.CodecError, match=r"is a Url whose encoding raised ZeroDivisionError"):
        trip.encode([Url("a")])


def test_pickles_are_refused_unless_allowed(Trip: Any) -> None:
    key = b"k" * 32
    writer = Trip(allow_pickle=True, pickle_key=key)
    value = {"small": Plain(1), "large": Plain("x" * 2000)}
    ref = writer.encode(value)
    back = writer.decode(ref)
    assert back["small"].needed == 1 and back["large"].needed == "x" * 2000
    with pytest.raises(errors.CodecError, match="pickles are not allowed"):
        codec.Codec(registry.Registry()).decode(ref, writer.read)
    with pytest.raises(errors.CodecError, match="not written by this hub"):
        codec.Codec(registry.Registry(), allow_pickle=True, pickle_key=b"o" * 32).decode(ref, writer.read)
    with pytest.raises(errors.UsageError, match="pickle key"):
        codec.Codec(registry.Registry(), allow_pickle=True)


def test_what_can_be_encoded_is_not_pickled(Trip: Any) -> None:
    trip = Trip(Point, allow_pickle=True, pickle_key=b"k" * 32)
    assert b"pickle" not in trip.encode(Point(1)).inline
