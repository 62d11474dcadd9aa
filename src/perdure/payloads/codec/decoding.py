"""One encoded value on its way back: a walk over a tree of JSON."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from perdure import errors
from perdure.payloads.codec import encoding

if TYPE_CHECKING:
    from perdure.payloads import codec

Node = encoding.Node
Read: TypeAlias = Callable[[bytes, str], bytes]
"""Gives an encoded body by its digest and owner."""

Handler: TypeAlias = "Callable[[Decoding, dict[str, Any]], Any]"

from_json = msgspec.json.Decoder().decode


class Corrupt(Exception):
    """An encoded value that this codec did not make."""


class Decoding:
    """The walk over one value's payloads, which all belong to one owner."""

    __slots__ = ("_codec", "_handlers", "_owner", "_read")

    def __init__(self, owning: codec.Codec, handlers: dict[str, Handler], read: Read, owner: str) -> None:
        self._codec = owning
        self._handlers = handlers
        self._read = read
        self._owner = owner

    def stored(self, digest: bytes) -> Any:
        """Give the value of a payload."""
        return self.body(self.fetch(digest))

    def chunk(self, digest: Node) -> list[Any]:
        """Give the values of a payload that ``Encoding.chunk`` made."""
        values = self.stored(from_base64(digest))
        if type(values) is not list:
            raise Corrupt("a chunk is not a list")
        return values

    def fetch(self, digest: bytes) -> bytes:
        """Give the body of a payload."""
        try:
            return self._read(digest, self._owner)
        except errors.PerdureError:
            raise
        except Exception as exc:
            raise ReadFailed(exc) from exc

    def body(self, body: bytes) -> Any:
        """Give the value of an encoded body."""
        kind = body[:1]
        if kind == encoding.STRING:
            return body[1:].decode()
        if kind == encoding.TYPED:
            return self.value(from_json(body[1:]))
        if kind == encoding.PLAIN:
            return from_json(body[1:])
        if kind == encoding.BYTES:
            return body[1:]
        if kind == encoding.WIDE:
            return body[1:].decode("utf-8", "surrogatepass")
        if kind == encoding.PICKLED:
            return self._codec.unpickle(body[1:])
        raise Corrupt(f"it starts with the unknown byte {kind!r}")

    def value(self, node: Node) -> Any:
        """Give the value of a tree; the tree is used up."""
        kind = type(node)
        if kind is dict:
            tag = node.get(encoding.MARK)
            if tag is not None:
                handler = self._handlers.get(tag)
                if handler is None:
                    handler = self._codec.reader(tag)
                return handler(self, node)
            for key, item in node.items():
                if type(item) is dict or type(item) is list:
                    node[key] = self.value(item)
        elif kind is list:
            for index, item in enumerate(node):
                if type(item) is dict or type(item) is list:
                    node[index] = self.value(item)
        return node

    def sequence(self, node: Node) -> list[Any]:
        """Give the values of a list of trees."""
        if type(node) is not list:
            raise Corrupt("a list is missing")
        values: list[Any] = self.value(node)
        return values

    def pairs(self, node: Node) -> list[tuple[Any, Any]]:
        """Give the items of a mapping of any keys."""
        keys, values = node
        return list(zip(self.sequence(keys), self.sequence(values), strict=True))

    def fields(self, node: dict[str, Any]) -> dict[str, Any]:
        """Give an object's named fields: all that is not marked."""
        return {name: self.value(item) for name, item in node.items() if not name.startswith(encoding.MARK)}


class ReadFailed(Exception):
    """Reading a payload failed for a reason of the store's own, kept as the cause."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def from_base64(text: Any) -> bytes:
    """Give the bytes of base64 as msgspec writes it."""
    if type(text) is not str:
        raise Corrupt("base64 is missing")
    return binascii.a2b_base64(text, strict_mode=True)
