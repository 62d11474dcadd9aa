"""How instances of classes are encoded, by the kind of class: enum, dataclass, model, struct, tuple with names, plain.

Instances come back as they were: constructors, validators and ``__post_init__`` do not run again. (A msgspec Struct
cannot be made without its ``__post_init__``; its fields are set once more afterwards.)
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pydantic
import pydantic_core

from perdure.payloads.codec import decoding, encoding, registry

E = encoding.Encoding
D = decoding.Decoding
Fields = dict[str, Any]

CONTENT, FIELDS_SET, EXTRA, PRIVATE = "$v", "$set", "$extra", "$private"
_SKIPPED = frozenset({"__orig_class__", "__weakref__", "__dict__"})


class Layout(NamedTuple):
    """How one class is encoded."""

    encode: encoding.Handler
    decode: decoding.Handler


def layout(cls: type, tag: str) -> Layout | None:
    """Give the layout of an admitted class, or None if its instances hold what Python cannot see."""
    if issubclass(cls, enum.Enum):
        return _enum(cls, tag)
    if issubclass(cls, pydantic.BaseModel):
        return _model(cls, tag)
    if issubclass(cls, msgspec.Struct):
        return _struct(cls, tag)
    base = next((base for base in cls.__mro__ if base in _CONTENTS), None)
    if base is not None:
        return _subclass(cls, tag, base) if cls.__reduce__ in (object.__reduce__, base.__reduce__) else None
    if dataclasses.is_dataclass(cls):
        return _plain(cls, tag)
    if not pickles_by_state(cls):
        return None
    if cls.__getstate__ is not object.__getstate__ or hasattr(cls, "__setstate__"):
        return _stateful(cls, tag)
    return _plain(cls, tag)


def custom(tag: str, functions: registry.Custom) -> Layout:
    """Give the layout of a class that the user registered functions for."""

    def encode(e: E, value: Any, depth: int) -> encoding.Node:
        return {encoding.MARK: tag, CONTENT: e.node(_called(functions.encode, value), depth + 1)}

    def decode(d: D, node: Fields) -> Any:
        return _restored(functions.decode, d.value(node[CONTENT]))

    return Layout(encode, decode)


def pickles_by_state(cls: type) -> bool:
    """Whether Python itself sees an instance as its attributes."""
    return all(getattr(cls, name) is getattr(object, name) for name in ("__reduce__", "__reduce_ex__"))


def hides_state(value: object) -> bool:
    """Whether an instance has state below Python, such as an open connection."""
    try:
        object.__reduce_ex__(value, 2)
    except TypeError:
        return True
    return False


def _called(function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except Exception as exc:
        name = type(value).__qualname__
        raise encoding.Refused(value, f"is a {name} whose encoding raised {exc!r}") from exc


def _restored(function: Callable[[Any], Any], state: Any) -> Any:
    try:
        return function(state)
    except Exception as exc:
        raise decoding.Corrupt(f"{getattr(function, '__qualname__', function)} raised {exc!r}") from exc


def _enum(cls: type[enum.Enum], tag: str) -> Layout:
    def encode(e: E, value: enum.Enum, depth: int) -> encoding.Node:
        name = value._name_
        if name in cls.__members__:
            return {encoding.MARK: tag, "n": name}
        # Flags combined.
        return {encoding.MARK: tag, CONTENT: e.node(value._value_, depth + 1)}

    def decode(d: D, node: Fields) -> enum.Enum:
        return cls.__members__[node["n"]] if "n" in node else cls(d.value(node[CONTENT]))

    return Layout(encode, decode)


def _slots(cls: type) -> tuple[str, ...]:
    found = (name for base in cls.__mro__ for name, kind in vars(base).items() if type(kind) is _SlotType)
    return tuple(dict.fromkeys(name for name in found if name not in _SKIPPED))


_SlotType = types.MemberDescriptorType


def _state(value: object, slots: tuple[str, ...], hidden: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for name in slots:
        try:
            yield name, getattr(value, name)
        except AttributeError:
            continue
    for name, item in getattr(value, "__dict__", {}).items():
        if name not in hidden:
            if name.startswith(encoding.MARK):
                raise encoding.Refused(value, f"has an attribute with the reserved name {name!r}", "Rename it.")
            yield name, item


def _hidden(cls: type) -> frozenset[str]:
    """What sits in an instance's dictionary and is no state: it is computed again when asked for."""
    cached = {
        name for base in cls.__mro__ for name, kind in vars(base).items() if isinstance(kind, functools.cached_property)
    }
    return _SKIPPED | cached


def _defaults(cls: type) -> dict[str, Callable[[], Any]]:
    """What fields that a newer version of a dataclass has are set to."""
    found: dict[str, Callable[[], Any]] = {}
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory
        elif field.default is not dataclasses.MISSING:
            found[field.name] = functools.partial(_same, field.default)
    return found


def _same(value: Any) -> Any:
    return value


def _plain(cls: type, tag: str) -> Layout:
    slots, hidden, defaults = _slots(cls), _hidden(cls), _defaults(cls)

    def encode(e: E, value: Any, depth: int) -> encoding.Node:
        return e.fields(_state(value, slots, hidden), {encoding.MARK: tag}, value, depth)

    def decode(d: D, node: Fields) -> Any:
        value: Any = object.__new__(cls)
        state = d.fields(node)
        for name, make in defaults.items():
            if name not in state:
                state[name] = make()
        _set(value, state)
        return value

    return Layout(encode, decode)


def _set(value: object, state: Fields) -> None:
    for name, item in state.items():
        object.__setattr__(value, name, item)


def _stateful(cls: type, tag: str) -> Layout:
    getstate: Callable[[Any], Any] = getattr(cls, "__getstate__")  # noqa: B009  (typed as taking none)

    def encode(e: E, value: Any, depth: int) -> encoding.Node:
        return {encoding.MARK: tag, CONTENT: e.node(_called(getstate, value), depth + 1)}

    def decode(d: D, node: Fields) -> Any:
        value: Any = object.__new__(cls)
        state = d.value(node[CONTENT])
        restore = getattr(value, "__setstate__", None)
        if restore is not None:
            _restored(restore, state)
            return value
        in_dict, in_slots = state if type(state) is tuple else (state, None)
        _set(value, in_dict or {})
        _set(value, in_slots or {})
        return value

    return Layout(encode, decode)


_CONTENTS: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes(memoryview(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}
"""What an instance of a subclass of a builtin type holds, as that type."""

_FILLED: dict[type, Callable[[Any, Any], None]] = {list: list.extend, dict: dict.update, set: set.update}


def _subclass(cls: type, tag: str, base: type) -> Layout:
    slots, hidden, content, fill = _slots(cls), _hidden(cls), _CONTENTS[base], _FILLED.get(base)

    def encode(e: E, value: Any, depth: int) -> encoding.Node:
        node = {encoding.MARK: tag, CONTENT: e.node(content(value), depth + 1)}
        return e.fields(_state(value, slots, hidden), node, value, depth)

    def decode(d: D, node: Fields) -> Any:
        held = d.value(node[CONTENT])
        if type(held) is not base:
            raise decoding.Corrupt(f"the content of a {cls.__qualname__} is a {type(held).__qualname__}")
        new: Callable[..., Any] = base.__new__
        if fill is None:
            value = new(cls, held)
        else:
            value = new(cls)
            fill(value, held)
        _set(value, d.fields(node))
        return value

    return Layout(encode, decode)


def _model(cls: type[pydantic.BaseModel], tag: str) -> Layout:
    names = cls.model_fields

    def encode(e: E, value: pydantic.BaseModel, depth: int) -> encoding.Node:
        held = value.__dict__
        node: dict[str, encoding.Node] = {encoding.MARK: tag}
        e.fields(((name, held[name]) for name in names if name in held), node, value, depth)
        fields_set = value.__pydantic_fields_set__
        if len(fields_set) != len(names) or fields_set != names.keys():
            node[FIELDS_SET] = sorted(fields_set)
        extra, private = value.__pydantic_extra__, value.__pydantic_private__
        if extra is not None:
            node[EXTRA] = e.node(extra, depth + 1)
        if private is not None:
            known = {name: item for name, item in private.items() if item is not pydantic_core.PydanticUndefined}
            node[PRIVATE] = e.node(known, depth + 1)
        return node

    def decode(d: D, node: Fields) -> pydantic.BaseModel:
        state = d.fields(node)
        fields_set = set(d.sequence(node[FIELDS_SET])) if FIELDS_SET in node else set(state)
        for name, field in names.items():
            if name not in state and not field.is_required():
                state[name] = field.get_default(call_default_factory=True, validated_data=state)
        value = cls.__new__(cls)
        object.__setattr__(value, "__dict__", state)
        object.__setattr__(value, "__pydantic_fields_set__", fields_set)
        object.__setattr__(value, "__pydantic_extra__", d.value(node.get(EXTRA)))
        object.__setattr__(value, "__pydantic_private__", d.value(node.get(PRIVATE)))
        return value

    return Layout(encode, decode)


def _struct(cls: type[msgspec.Struct], tag: str) -> Layout:
    names = cls.__struct_fields__
    hidden = _hidden(cls)

    def encode(e: E, value: msgspec.Struct, depth: int) -> encoding.Node:
        return e.fields(_state(value, names, hidden), {encoding.MARK: tag}, value, depth)

    def decode(d: D, node: Fields) -> msgspec.Struct:
        state = d.fields(node)
        value = _restored(lambda fields: cls(**fields), {name: state[name] for name in names if name in state})
        for name, item in state.items():
            if name in names:
                msgspec.structs.force_setattr(value, name, item)
            else:
                object.__setattr__(value, name, item)
        restored: msgspec.Struct = value
        return restored

    return Layout(encode, decode)
