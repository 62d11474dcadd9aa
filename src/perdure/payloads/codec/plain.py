"""Values as plain JSON, for clients to look at. Nothing is ever decoded from it."""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import enum
import math
from typing import Any

import msgspec
import pydantic

from perdure import errors
from perdure.payloads.codec import registry, type_names


def to_plain(value: Any, known: registry.Registry | None = None) -> Any:
    """Give a value as plain JSON.

    Dataclasses and models are given as their fields, objects of the framework as their ``to_dict()``, dates in ISO
    format, bytes in base64, enums by value, tuples and sets as lists. What JSON cannot hold is given as text.

    Args:
        value: Any value.
        known: Where the codecs of the user's own classes are, beside those of the whole process.

    Raises:
        CodecError: If the value is nested too deeply.
    """
    try:
        return _plain(value, known)
    except RecursionError as exc:
        raise errors.CodecError("A value is nested too deeply to be shown, or contains itself.") from exc


def _plain(value: Any, known: registry.Registry | None) -> Any:
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is dict:
        return {_key(key): _plain(item, known) for key, item in value.items()}
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return [_plain(item, known) for item in value]
    custom = known.custom(kind) if known is not None else registry.DEFAULTS.customs.get(kind)
    if custom is not None:
        return _plain(custom.encode(value), known)
    if type_names.is_type(value):
        return getattr(value, "__qualname__", None) or str(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value, known)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if registry.is_framework(kind.__module__) and callable(getattr(value, "to_dict", None)):
        return _plain(value.to_dict(), known)
    if isinstance(value, pydantic.RootModel):
        return _plain(value.root, known)
    fields = _fields(value)
    if fields is not None:
        return {_text(name): _plain(item, known) for name, item in fields.items()}
    if isinstance(value, collections.abc.Mapping):
        return {_key(key): _plain(item, known) for key, item in value.items()}
    if isinstance(value, collections.abc.Sequence | collections.abc.Set | collections.deque):
        return [_plain(item, known) for item in value]
    if hasattr(value, "__dict__") and not _has_text(kind):
        return {_text(name): _plain(item, known) for name, item in vars(value).items() if not name.startswith("_")}
    return _text(str(value))


def _has_text(cls: type) -> bool:
    return any("__str__" in vars(base) for base in cls.__mro__ if base is not object)


def _fields(value: Any) -> dict[str, Any] | None:
    if isinstance(value, pydantic.BaseModel):
        shown = [name for name, field in type(value).model_fields.items() if not field.exclude]
        return {name: getattr(value, name, None) for name in shown} | (value.__pydantic_extra__ or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, tuple) and hasattr(type(value), "_fields"):
        names: tuple[str, ...] = getattr(type(value), "_fields")  # noqa: B009  (tuple does not declare it)
        return dict(zip(names, value, strict=False))
    return None


def _key(key: Any) -> str:
    if type(key) is str:
        return _text(key)
    if isinstance(key, enum.Enum):
        return _key(key.value)
    if isinstance(key, datetime.date | datetime.time):
        return key.isoformat()
    return _text(str(key))


def _text(value: str) -> str:
    """Replace lone surrogates, which JSON cannot hold."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
