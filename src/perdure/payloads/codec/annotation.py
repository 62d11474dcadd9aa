"""The classes that a type annotation names."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

import msgspec
import pydantic

_SKIPPED_MODULES = frozenset({"builtins", "typing", "typing_extensions", "types", "collections.abc", "abc"})


def classes(annotation: object) -> list[type]:
    """List every class in an annotation and, recursively, in the fields of those classes."""
    found: dict[type, None] = {}
    waiting, seen = [annotation], dict[int, object]()  # An id is only unique while its object lives.
    while waiting:
        item = waiting.pop()
        if item is None or isinstance(item, str) or id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, type) and typing.get_origin(item) is None:
            if item.__module__ in _SKIPPED_MODULES:
                continue
            found[item] = None
            waiting.extend(_field_annotations(item))
        waiting.extend(_parts(item))
    return list(found)


def _parts(item: object) -> Iterator[object]:
    origin = typing.get_origin(item)
    if origin is typing.Literal:
        yield from {type(value) for value in typing.get_args(item)}
        return
    if origin is typing.Annotated:
        yield typing.get_args(item)[0]
        return
    if isinstance(origin, type):
        yield origin
    for part in typing.get_args(item):
        # Callable's parameters come as a list.
        yield from part if isinstance(part, list) else (part,)
    if isinstance(item, typing.TypeVar):
        yield item.__bound__
        yield from item.__constraints__
    for name in ("__supertype__", "__value__"):  # NewType; a type alias statement
        if not isinstance(item, type) and hasattr(item, name):
            yield getattr(item, name)


def _field_annotations(cls: type) -> Iterator[object]:
    metadata = getattr(cls, "__pydantic_generic_metadata__", None)
    if metadata:
        yield metadata["origin"]
        yield from metadata["args"]
    if issubclass(cls, pydantic.BaseModel):
        for field in cls.model_fields.values():
            yield field.annotation
    elif (
        dataclasses.is_dataclass(cls) or issubclass(cls, msgspec.Struct) or _is_named_tuple(cls) or _is_typed_dict(cls)
    ):
        yield from _hints(cls).values()


def _hints(cls: type) -> dict[str, object]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        # A name that exists only for type checkers: what is not a string is still known.
        return {name: hint for base in cls.__mro__ for name, hint in vars(base).get("__annotations__", {}).items()}


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _is_typed_dict(cls: type) -> bool:
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__")
