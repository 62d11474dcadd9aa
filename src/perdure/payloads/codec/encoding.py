"""One value on its way to encoded form: a walk that gives a tree of JSON.

A tree of builtins stands for itself. Everything else is an object under the key ``$``, which names what it is:
a builtin type (``tuple``), or a class (``@module:qualname``). A user's dict that has the key ``$``, or keys
that are no strings, is such an object too (``dict``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from perdure import errors
from perdure.payloads import refs
from perdure.payloads.codec import conversation

if TYPE_CHECKING:
    from perdure.payloads import codec

Node: TypeAlias = Any
"""A tree of JSON: what msgspec encodes without hooks."""

Handler: TypeAlias = "Callable[[Encoding, Any, int], Node]"

MARK = "$"
STRING, WIDE, BYTES, PLAIN, TYPED, PICKLED = b"s", b"w", b"b", b"j", b"t", b"p"
"""The first byte of a body: what follows it."""

REMEDY = (
    "Name the class in AgentFunctionApp(types=[...]), or give it a codec with "
    "perdure.codec.register(cls, encode, decode), or keep only an id of it."
)

MAX_DEPTH = 300
_UNCHECKED_CHARS = refs.INLINE_LIMIT_BYTES // 4 - 1
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1

to_json = msgspec.json.Encoder().encode


class Refused(Exception):
    """A value that cannot be encoded, with the way to it, innermost step first."""

    def __init__(self, value: object, reason: str, remedy: str = "", *, deep: bool = False) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self.remedy = remedy
        self.deep = deep
        self.steps: list[tuple[str, object]] = []

    def error(self, where: str) -> errors.CodecError:
        """Describe it to the user."""
        path = "".join(step for step, _ in reversed(self.steps))
        place = f"{where} at {path}" if path else where
        return errors.CodecError(f"{place[:1].upper()}{place[1:]} {self.reason}.", self.remedy)


def too_deep(value: object) -> Refused:
    """Refuse a value that is nested too deeply, or without end."""
    return Refused(value, f"is nested more than {MAX_DEPTH} levels deep", "Flatten it, or keep only an id.", deep=True)


class Encoding:
    """The walk over one value.

    Args:
        owner: The codec, which knows the classes.
        handlers: What it has for classes met before.
        wide: Look at every string for lone surrogates, which JSON cannot hold.
    """

    __slots__ = ("_codec", "_handlers", "_seen", "blobs", "tagged", "wide")

    def __init__(self, owner: codec.Codec, handlers: dict[type, Handler], *, wide: bool = False) -> None:
        self._codec = owner
        self._handlers = handlers
        self._seen: set[bytes] = set()
        self.blobs: list[refs.Blob] = []
        self.tagged = False
        self.wide = wide

    def node(self, value: Any, depth: int) -> Node:
        """Give the tree of a value."""
        kind = type(value)
        if kind is str:
            if len(value) > _UNCHECKED_CHARS or self.wide:
                return self._text(value)
            return value
        if value is None or kind is bool:
            return value
        if kind is int:
            if _MIN_INT <= value <= _MAX_INT:
                return value
            return self.tag("int", hex(value))
        if kind is float:
            return value if math.isfinite(value) else self.tag("float", repr(value))
        if depth > MAX_DEPTH:
            raise too_deep(value)
        if kind is dict:
            return self._dict(value, depth)
        if kind is list:
            return self._list(value, depth)
        handler = self._handlers.get(kind)
        if handler is None:
            handler = self._codec.handler(kind, value)
        self.tagged = True
        return handler(self, value, depth)

    def tag(self, name: str, value: Node) -> Node:
        """Say what a tree stands for."""
        self.tagged = True
        return {MARK: name, "v": value}

    def sequence(self, values: Any, depth: int) -> list[Node]:
        """Give the trees of values, in order."""
        out: list[Node] = []
        try:
            for item in values:
                out.append(self.node(item, depth + 1))
        except Refused as refused:
            refused.steps.append((f"[{len(out)}]", values))
            raise
        return out

    def fields(self, names_and_values: Any, out: dict[str, Node], holder: object, depth: int) -> dict[str, Node]:
        """Add the trees of an object's named fields."""
        name = ""
        try:
            for name, value in names_and_values:
                out[name] = self.node(value, depth + 1)
        except Refused as refused:
            refused.steps.append((f".{name}", holder))
            raise
        return out

    def pairs(self, value: Any, depth: int) -> Node:
        """Give the tree of a mapping of any keys, in its order."""
        keys, values = [], []
        key: Any = None
        try:
            for key, item in value.items():
                keys.append(self.node(key, depth + 1))
                values.append(self.node(item, depth + 1))
        except Refused as refused:
            refused.steps.append((_step(key), value))
            raise
        return [keys, values]

    def unordered(self, value: Any, depth: int) -> list[Node]:
        """Give the trees of a set's members, ordered by their encoding so that equal sets encode alike."""
        return [msgspec.Raw(item) for item in sorted(to_json(node) for node in self.sequence(list(value), depth))]

    def store(self, body: bytes) -> Node:
        """Make a payload of its own of a body, and give the reference to it."""
        return self.tag("ref", self._put(body))

    def chunk(self, nodes: list[Node]) -> bytes:
        """Make a payload of its own of some trees, and give its digest."""
        return self._put(TYPED + to_json(nodes))

    def shared(self, node: Node) -> Node:
        """Make a payload of its own of a tree that is over the limit; a smaller one stays where it is."""
        text = to_json(node)
        if len(text) >= refs.INLINE_LIMIT_BYTES:
            return self.store(TYPED + text)
        return msgspec.Raw(text)

    def _put(self, body: bytes) -> bytes:
        item = refs.blob(body)
        if item.digest not in self._seen:
            self._seen.add(item.digest)
            self.blobs.append(item)
        return item.digest

    def _text(self, value: str) -> Node:
        try:
            body = STRING + value.encode()
        except UnicodeEncodeError:
            body = WIDE + value.encode("utf-8", "surrogatepass")
            return self.store(body) if len(body) > refs.INLINE_LIMIT_BYTES else self.tag("str", body[1:])
        return self.store(body) if len(body) > refs.INLINE_LIMIT_BYTES else value

    def _dict(self, value: dict[Any, Any], depth: int) -> Node:
        out: dict[str, Node] = {}
        key: Any = None
        try:
            for key, item in value.items():
                if type(key) is not str or key == MARK or (self.wide and not _is_utf8(key)):
                    break
                out[key] = self.node(item, depth + 1)
            else:
                return out
        except Refused as refused:
            refused.steps.append((_step(key), value))
            raise
        return self.tag("dict", self.pairs(value, depth))

    def _list(self, value: list[Any], depth: int) -> Node:
        if conversation.is_long(value):
            return conversation.encode(self, value, depth)
        return self.sequence(value, depth)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _step(key: Any) -> str:
    return f"[{key!r:.60}]"
