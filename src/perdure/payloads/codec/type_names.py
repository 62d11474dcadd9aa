"""Types as values: the class that a response is to be parsed into, the type that a request asks for."""

from __future__ import annotations

import builtins
import functools
import operator
import types
import typing
from typing import Any

from perdure.payloads.codec import decoding, encoding, registry

_BUILTIN = {
    name: cls for name, cls in vars(builtins).items() if isinstance(cls, type) and not issubclass(cls, BaseException)
}
_SPECIAL: dict[str, Any] = {"None": None, "NoneType": types.NoneType, "Any": typing.Any}

_LITERAL: Any = typing.Literal


def is_type(value: object) -> bool:
    """Whether a value is a class or a type built from classes."""
    return isinstance(value, type) or typing.get_origin(value) is not None or value is typing.Any


def encode(e: encoding.Encoding, known: registry.Registry, value: Any) -> encoding.Node:
    """Give the tree of a type."""
    return e.tag("type", _expression(known, value))


def _expression(known: registry.Registry, value: Any) -> encoding.Node:
    for name, special in _SPECIAL.items():
        if value is special:
            return name
    metadata = getattr(value, "__pydantic_generic_metadata__", None)
    if metadata and metadata["args"]:
        return [_expression(known, metadata["origin"]), *(_expression(known, arg) for arg in metadata["args"])]
    origin: Any = typing.get_origin(value)
    if origin in (types.UnionType, typing.Union):
        return ["|", *(_expression(known, arg) for arg in typing.get_args(value))]
    if origin is typing.Annotated:
        return _expression(known, typing.get_args(value)[0])
    if origin is typing.Literal and all(type(arg) in (str, int, bool) for arg in typing.get_args(value)):
        return ["Literal", *([arg] for arg in typing.get_args(value))]
    if isinstance(origin, type):
        return [_expression(known, origin), *(_expression(known, arg) for arg in typing.get_args(value))]
    if value is ...:
        return "..."
    if isinstance(value, type):
        cls: type = value
        if _BUILTIN.get(cls.__name__) is cls:
            return cls.__name__
        named = known.name_of(cls)
        if named is not None:
            return named
    raise encoding.Refused(value, f"holds the type {value!r}, which is not known", encoding.REMEDY)


def decode(known: registry.Registry, node: encoding.Node) -> Any:
    """Give back a type.

    Raises:
        CodecError: If it names a class that is not known.
    """
    if type(node) is str:
        if node == "...":
            return ...
        if node in _SPECIAL:
            return _SPECIAL[node]
        return _BUILTIN.get(node) or known.resolve(node)
    if type(node) is not list or not node[1:]:
        raise decoding.Corrupt("a type is missing")
    if node[0] == "Literal":
        return _LITERAL[tuple(arg for (arg,) in node[1:])]
    args: Any = tuple(decode(known, part) for part in node[1:])
    if node[0] == "|":
        return functools.reduce(operator.or_, args)
    origin = decode(known, node[0])
    return origin[args if len(args) > 1 else args[0]]
