"""What a client sends, as the type that the start executor takes."""

from __future__ import annotations

import codecs
import dataclasses
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pydantic

from perdure import errors
from perdure.workflow import graph, json_schema

_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)

Problems = list[tuple[str, str]]


class StartInput:
    """Decodes request bodies to a workflow's declared input types.

    Args:
        accepted: The input types of the start executor, in the order of its handlers.
        fits: Whether the start executor takes a value.
        as_text: Whether what fits none of the types is taken as the text that it is, as agents do.

    Attributes:
        accepted: The types.
        only_text: Whether nothing but text is taken.
    """

    def __init__(self, accepted: Sequence[Any], fits: Callable[[Any], bool], *, as_text: bool = False) -> None:
        self._as_text = as_text
        self.accepted = tuple(accepted)
        self._fits = fits
        self._adapters = {index: json_schema.adapter(kind) for index, kind in enumerate(self.accepted)}
        self.only_text = bool(self.accepted) and all(kind is str for kind in self.accepted)

    def decode(self, body: bytes, content_type: str) -> Any:
        """Give the value that a body stands for.

        Args:
            body: The request body.
            content_type: Its media type; text/plain makes the body the text itself.

        Raises:
            EmptyInput: If it is empty or ``null``.
            InvalidInput: If it fits none of the types.
        """
        if not body.strip():
            raise errors.EmptyInput("The request has no body.", "Send the workflow's input, as JSON or as plain text.")
        media = media_type(content_type)
        if media.startswith("text/"):
            return self.check(text(body, content_type))
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            broken = "", f"it is not valid JSON: {error}"
            if media.endswith("json") and not (self.only_text or self._as_text):
                raise errors.InvalidInput([broken]) from None
            try:
                return self.check(text(body, content_type))
            except errors.InvalidInput as unfit:
                # Sent without its type, as curl does it, it was most likely meant to be JSON.
                raise errors.InvalidInput([broken, *unfit.errors]) from None
        if value is None:
            raise errors.EmptyInput("The body is null, and a workflow takes no null as its input.", "Send a value.")
        if self.only_text and not isinstance(value, str):
            return self.check(text(body, content_type))
        if not self._as_text:
            return self.convert(value)
        try:
            return self.convert(value)
        except errors.InvalidInput:
            return self.check(text(body, content_type))

    def convert(self, value: Any) -> Any:
        """Turn plain JSON into the first declared type that it fits.

        Raises:
            InvalidInput: If it fits none.
        """
        problems: Problems = []
        for index, kind in enumerate(self.accepted):
            try:
                converted = self._as(kind, self._adapters[index], value)
            except pydantic.ValidationError as error:
                problems = _longer(problems, _problems(error))
            except _Unfit as unfit:
                problems = _longer(problems, unfit.problems)
            else:
                return self.check(converted)
        if len(self.accepted) == 1:
            raise errors.InvalidInput(problems)
        takes = ", ".join(_name(kind) for kind in self.accepted)
        raise errors.InvalidInput([*problems, ("", f"it fits none of the types that the workflow takes: {takes}")])

    def schema(self) -> dict[str, Any]:
        """Give a JSON schema of the input."""
        return json_schema.of(self.accepted)

    def _as(self, kind: Any, adapter: pydantic.TypeAdapter[Any] | None, value: Any) -> Any:
        if adapter is not None:
            return _strictly(adapter, value)
        converted = _framework_value(value, kind, "")
        if not graph.is_instance_of(converted, kind):
            raise _Unfit([("", f"it is no {_name(kind)}")])
        return converted

    def check(self, value: Any) -> Any:
        """Give back a value that the start executor takes.

        Raises:
            InvalidInput: If it takes no such value.
        """
        if not self._fits(value):
            takes = ", ".join(_name(kind) for kind in self.accepted)
            raise errors.InvalidInput([("", f"a {type(value).__name__} is none of what the workflow takes: {takes}")])
        return value


class _Unfit(Exception):
    """A value does not fit a type of the framework's."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(problems)
        self.problems = problems


def _strictly(adapter: pydantic.TypeAdapter[Any], value: Any) -> Any:
    # Strict JSON mode: dates are read from strings, but "123" is no number and 1 is no bool.
    return adapter.validate_json(msgspec.json.encode(value), strict=True)


def _framework_value(value: Any, kind: Any, at: str) -> Any:
    """Read a framework type, such as Message, or what is made of them, from plain JSON."""
    adapter = json_schema.known_adapter(kind)
    if adapter is not None:
        try:
            return _strictly(adapter, value)
        except pydantic.ValidationError as error:
            raise _Unfit([(at + pointer, what) for pointer, what in _problems(error)]) from None
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _member_value(value, arguments, at)
    if origin is list and isinstance(value, list) and arguments:
        return [_framework_value(item, arguments[0], f"{at}/{index}") for index, item in enumerate(value)]
    if origin is dict and isinstance(value, dict) and arguments:
        return {name: _framework_value(item, arguments[1], f"{at}/{_escape(name)}") for name, item in value.items()}
    if isinstance(kind, type) and isinstance(value, dict):
        try:
            if hasattr(kind, "from_dict"):
                return kind.from_dict(value)
            if dataclasses.is_dataclass(kind):
                return kind(**_members(value, kind, at))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise _Unfit([(at, f"it is no {_name(kind)}: {error}")]) from None
    raise _Unfit([(at, f"it is no {_name(kind)}")])


def _member_value(value: Any, members: tuple[Any, ...], at: str) -> Any:
    problems: Problems = []
    for member in members:
        try:
            converted = _framework_value(value, member, at)
        except _Unfit as unfit:
            problems = _longer(problems, unfit.problems)
        else:
            if graph.is_instance_of(converted, member):
                return converted
    raise _Unfit(problems)


def _members(value: dict[str, Any], kind: type, at: str) -> dict[str, Any]:
    # A class defined inside a function may name what cannot be looked up: its members are taken as they are.
    hints = json_schema.members(kind)
    return {name: _framework_value(item, hints.get(name, Any), f"{at}/{_escape(name)}") for name, item in value.items()}


def media_type(content_type: str) -> str:
    """Give the media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def text(body: bytes, content_type: str = "") -> str:
    """Read a body as text, in the charset that its type names; in UTF-8 if none is named.

    Raises:
        MalformedInput: If it is none.
    """
    found = _CHARSET.search(content_type)
    charset = found[1] if found is not None else "utf-8"
    try:
        decoded = codecs.lookup(charset).name
        return body.decode(decoded)
    except (LookupError, UnicodeError) as error:
        raise errors.MalformedInput([("", f"it is not text in {charset[:40]}: {error}")]) from None


def _problems(error: pydantic.ValidationError) -> Problems:
    return [
        ("".join(f"/{_escape(part)}" for part in problem["loc"]), problem["msg"])
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _escape(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _longer(one: Problems, other: Problems) -> Problems:
    """Prefer the problems that lie deeper: the type that was nearly met."""
    depth = max((pointer.count("/") for pointer, _ in other), default=0)
    return other if not one or depth > max(pointer.count("/") for pointer, _ in one) else one


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
