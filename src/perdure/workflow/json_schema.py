"""JSON schemas of the types that values are sent as, those of the framework's among them that pydantic cannot read."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pydantic
from agent_framework import Content, Message

_CONTENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"type": {"type": "string", "examples": ["text"]}, "text": {"type": "string"}},
    "required": ["type"],
}
_MESSAGE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "examples": ["user", "system", "assistant", "tool"]},
        "contents": {"type": "array", "items": _CONTENT},
        "author_name": {"type": "string"},
    },
    "required": ["role", "contents"],
}
_FRAMEWORK: Final[Mapping[type, dict[str, Any]]] = {Message: _MESSAGE, Content: _CONTENT}
_OPAQUE: Final[dict[str, Any]] = {"type": "object"}

Leaves = list[tuple[pydantic.TypeAdapter[Any], dict[str, Any]]]
"""What pydantic reads, with the place of its schema in the whole."""


def adapter(kind: Any) -> pydantic.TypeAdapter[Any] | None:
    """How pydantic reads a type; None for the framework's own types, which it cannot read."""
    try:
        return pydantic.TypeAdapter(kind)
    except (pydantic.errors.PydanticSchemaGenerationError, pydantic.errors.PydanticUserError):
        return None


known_adapter: Final[Callable[[Any], pydantic.TypeAdapter[Any] | None]] = functools.lru_cache(maxsize=512)(adapter)


def of(kinds: Sequence[Any]) -> dict[str, Any]:
    """Give the schema of a value of any of some types; what it refers to stands in its ``$defs``."""
    if len(kinds) == 1 and (alone := adapter(kinds[0])) is not None:
        shown = _shown(alone)
        return dict(_OPAQUE) if shown is None else shown
    leaves: Leaves = []
    schemas = [_of(kind, leaves, ()) for kind in kinds]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    # All at once: pydantic keeps apart what bears the same name.
    found, shared = pydantic.TypeAdapter.json_schemas(
        [(index, "validation", readable) for index, (readable, _) in enumerate(leaves)]
    )
    for index, (_, place) in enumerate(leaves):
        place.update(found[index, "validation"])
    return {**schema, **shared}


def members(kind: type) -> dict[str, Any]:
    """Give the types of a dataclass's members; empty if they name what cannot be looked up."""
    try:
        return typing.get_type_hints(kind)
    except NameError:
        return {}


def _of(kind: Any, leaves: Leaves, around: tuple[Any, ...]) -> dict[str, Any]:
    readable = known_adapter(kind)
    if readable is not None:
        if _shown(readable) is None:
            return _OPAQUE
        place: dict[str, Any] = {}
        leaves.append((readable, place))
        return place
    if kind in _FRAMEWORK:
        return _FRAMEWORK[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    inside = (*around, kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_of(member, leaves, inside) for member in arguments]}
    if origin is list and arguments:
        return {"type": "array", "items": _of(arguments[0], leaves, inside)}
    if origin is dict and arguments:
        return {"type": "object", "additionalProperties": _of(arguments[1], leaves, inside)}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in around:
        return _dataclass(kind, leaves, inside)
    return _OPAQUE


def _dataclass(kind: type, leaves: Leaves, around: tuple[Any, ...]) -> dict[str, Any]:
    hints = members(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    properties = {field.name: _of(hints.get(field.name, Any), leaves, around) for field in fields}
    return {"type": "object", "title": kind.__name__, "properties": properties, "required": required}


def _shown(readable: pydantic.TypeAdapter[Any]) -> dict[str, Any] | None:
    """Give the schema of what pydantic reads; None if it has none, as a validator in plain Python has."""
    try:
        return readable.json_schema()
    except pydantic.errors.PydanticInvalidForJsonSchema:
        return None
