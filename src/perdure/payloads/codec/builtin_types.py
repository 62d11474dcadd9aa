"""How the values of Python's own types are encoded."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic

from perdure.payloads import refs
from perdure.payloads.codec import conversation, decoding, encoding

E = encoding.Encoding
D = decoding.Decoding


def _bytes(e: E, value: bytes, depth: int) -> encoding.Node:
    if len(value) >= refs.INLINE_LIMIT_BYTES:
        return e.store(encoding.BYTES + value)
    return e.tag("bytes", value)


def _bytearray(e: E, value: bytearray, depth: int) -> encoding.Node:
    return e.tag("bytearray", _bytes(e, bytes(value), depth))


def _datetime(e: E, value: datetime.datetime, depth: int) -> encoding.Node:
    node = e.tag("datetime", value.replace(tzinfo=None).isoformat())
    return _zoned(e, node, value, depth)


def _time(e: E, value: datetime.time, depth: int) -> encoding.Node:
    return _zoned(e, e.tag("time", value.replace(tzinfo=None).isoformat()), value, depth)


def _zoned(e: E, node: encoding.Node, value: datetime.datetime | datetime.time, depth: int) -> encoding.Node:
    if value.fold:
        node["f"] = 1
    if value.tzinfo is not None:
        e.fields([("tzinfo", value.tzinfo)], node, value, depth)
    return node


def _read_datetime(d: D, node: dict[str, Any]) -> datetime.datetime:
    bare = datetime.datetime.fromisoformat(node["v"])
    return bare.replace(fold=node.get("f", 0), tzinfo=d.value(node.get("tzinfo")))


def _read_time(d: D, node: dict[str, Any]) -> datetime.time:
    bare = datetime.time.fromisoformat(node["v"])
    return bare.replace(fold=node.get("f", 0), tzinfo=d.value(node.get("tzinfo")))


def _timedelta(e: E, value: datetime.timedelta, depth: int) -> encoding.Node:
    return e.tag("timedelta", [value.days, value.seconds, value.microseconds])


def _timezone(e: E, value: datetime.timezone, depth: int) -> encoding.Node:
    if value is datetime.UTC:
        return e.tag("timezone", [])
    offset = value.utcoffset(None)
    name = value.tzname(None)
    named = name != datetime.timezone(offset).tzname(None)
    return e.tag("timezone", [_timedelta(e, offset, depth), name] if named else [_timedelta(e, offset, depth)])


def _read_timezone(d: D, node: dict[str, Any]) -> datetime.timezone:
    parts = d.sequence(node["v"])
    return datetime.timezone(*parts) if parts else datetime.UTC


# pydantic gives its own fixed offsets to the dates that it parses.
_PydanticZone: Any = type(pydantic.TypeAdapter(datetime.datetime).validate_python("2000-01-01T00:00:00+01:00").tzinfo)


def _pydantic_zone(e: E, value: Any, depth: int) -> encoding.Node:
    return e.tag("pydantic_zone", int(value.utcoffset(None).total_seconds()))


def _zone(e: E, value: zoneinfo.ZoneInfo, depth: int) -> encoding.Node:
    if value.key is None:
        raise encoding.Refused(value, "is a time zone without a name", "Use zoneinfo.ZoneInfo with a key.")
    return e.tag("zone", value.key)


def _complex(e: E, value: complex, depth: int) -> encoding.Node:
    return e.tag("complex", e.sequence([value.real, value.imag], depth))


def _range(e: E, value: range, depth: int) -> encoding.Node:
    return e.tag("range", e.sequence([value.start, value.stop, value.step], depth))


def _slice(e: E, value: slice, depth: int) -> encoding.Node:
    return e.tag("slice", e.sequence([value.start, value.stop, value.step], depth))


def _deque(e: E, value: collections.deque[Any], depth: int) -> encoding.Node:
    node = e.tag("deque", e.sequence(value, depth))
    if value.maxlen is not None:
        node["n"] = value.maxlen
    return node


def _defaultdict(e: E, value: collections.defaultdict[Any, Any], depth: int) -> encoding.Node:
    node = e.tag("defaultdict", e.pairs(value, depth))
    return e.fields([("default_factory", value.default_factory)], node, value, depth)


def _read_defaultdict(d: D, node: dict[str, Any]) -> collections.defaultdict[Any, Any]:
    return collections.defaultdict(d.value(node["default_factory"]), d.pairs(node["v"]))


def _read_slice(d: D, node: dict[str, Any]) -> slice:
    start, stop, step = d.sequence(node["v"])
    return slice(start, stop, step)


def _read_counter(d: D, node: dict[str, Any]) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    for key, count in d.pairs(node["v"]):
        dict.__setitem__(counter, key, count)
    return counter


def _read_ref(d: D, node: dict[str, Any]) -> Any:
    return d.stored(decoding.from_base64(node["v"]))


def _as_text(tag: str) -> encoding.Handler:
    return lambda e, value, depth: e.tag(tag, str(value))


def _from_text(make: Callable[[str], Any]) -> decoding.Handler:
    def read(d: D, node: dict[str, Any]) -> Any:
        text = node["v"]
        if type(text) is not str:
            raise decoding.Corrupt("a text is missing")
        return make(text)

    return read


# Classes of their own in models; each holds nothing but its text.
_URLS = (
    pydantic.AnyUrl,
    pydantic.AnyHttpUrl,
    pydantic.HttpUrl,
    pydantic.FileUrl,
    pydantic.FtpUrl,
    pydantic.WebsocketUrl,
)

_TEXTS: dict[type, str] = {
    decimal.Decimal: "Decimal",
    fractions.Fraction: "Fraction",
    uuid.UUID: "UUID",
    type(pathlib.Path()): "Path",
    pathlib.PurePosixPath: "PurePosixPath",
    pathlib.PureWindowsPath: "PureWindowsPath",
    ipaddress.IPv4Address: "IPv4Address",
    ipaddress.IPv6Address: "IPv6Address",
    ipaddress.IPv4Network: "IPv4Network",
    ipaddress.IPv6Network: "IPv6Network",
    ipaddress.IPv4Interface: "IPv4Interface",
    ipaddress.IPv6Interface: "IPv6Interface",
    **{cls: cls.__name__ for cls in _URLS},
}

ENCODERS: dict[type, encoding.Handler] = {
    bytes: _bytes,
    bytearray: _bytearray,
    tuple: lambda e, value, depth: e.tag("tuple", e.sequence(value, depth)),
    set: lambda e, value, depth: e.tag("set", e.unordered(value, depth)),
    frozenset: lambda e, value, depth: e.tag("frozenset", e.unordered(value, depth)),
    datetime.datetime: _datetime,
    datetime.date: lambda e, value, depth: e.tag("date", value.isoformat()),
    datetime.time: _time,
    datetime.timedelta: _timedelta,
    datetime.timezone: _timezone,
    zoneinfo.ZoneInfo: _zone,
    _PydanticZone: _pydantic_zone,
    complex: _complex,
    range: _range,
    slice: _slice,
    collections.deque: _deque,
    collections.defaultdict: _defaultdict,
    collections.OrderedDict: lambda e, value, depth: e.tag("OrderedDict", e.pairs(value, depth)),
    collections.Counter: lambda e, value, depth: e.tag("Counter", e.pairs(value, depth)),
    type(msgspec.UNSET): lambda e, value, depth: e.tag("unset", None),
    type(...): lambda e, value, depth: e.tag("ellipsis", None),
    **{cls: _as_text(tag) for cls, tag in _TEXTS.items()},
}
"""By exact type."""

DECODERS: dict[str, decoding.Handler] = {
    "ref": _read_ref,
    "messages": conversation.decode,
    "str": lambda d, node: decoding.from_base64(node["v"]).decode("utf-8", "surrogatepass"),
    "int": _from_text(lambda text: int(text, 16)),
    "float": _from_text(float),
    "dict": lambda d, node: dict(d.pairs(node["v"])),
    "bytes": lambda d, node: decoding.from_base64(node["v"]),
    "bytearray": lambda d, node: bytearray(d.value(node["v"])),
    "tuple": lambda d, node: tuple(d.sequence(node["v"])),
    "set": lambda d, node: set(d.sequence(node["v"])),
    "frozenset": lambda d, node: frozenset(d.sequence(node["v"])),
    "datetime": _read_datetime,
    "date": _from_text(datetime.date.fromisoformat),
    "time": _read_time,
    "timedelta": lambda d, node: datetime.timedelta(*node["v"]),
    "timezone": _read_timezone,
    "zone": _from_text(zoneinfo.ZoneInfo),
    "pydantic_zone": lambda d, node: _PydanticZone(node["v"]),
    "complex": lambda d, node: complex(*d.sequence(node["v"])),
    "range": lambda d, node: range(*d.sequence(node["v"])),
    "slice": _read_slice,
    "deque": lambda d, node: collections.deque(d.sequence(node["v"]), node.get("n")),
    "defaultdict": _read_defaultdict,
    "OrderedDict": lambda d, node: collections.OrderedDict(d.pairs(node["v"])),
    "Counter": _read_counter,
    "unset": lambda d, node: msgspec.UNSET,
    "ellipsis": lambda d, node: ...,
    "Decimal": _from_text(decimal.Decimal),
    "Fraction": _from_text(fractions.Fraction),
    "UUID": _from_text(uuid.UUID),
    "Path": _from_text(pathlib.Path),
    "PurePosixPath": _from_text(pathlib.PurePosixPath),
    "PureWindowsPath": _from_text(pathlib.PureWindowsPath),
    "IPv4Address": _from_text(ipaddress.IPv4Address),
    "IPv6Address": _from_text(ipaddress.IPv6Address),
    "IPv4Network": _from_text(ipaddress.IPv4Network),
    "IPv6Network": _from_text(ipaddress.IPv6Network),
    "IPv4Interface": _from_text(ipaddress.IPv4Interface),
    "IPv6Interface": _from_text(ipaddress.IPv6Interface),
    **{cls.__name__: _from_text(cls) for cls in _URLS},
}
"""By tag."""
