"""The codec: user values to encoded bodies and back.

A body is one byte that says what follows, and that: a string, bytes, plain JSON, or JSON with tags. The same
value always gives the same body, and so the same digest.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec

from perdure import errors
from perdure.payloads import refs
from perdure.payloads.codec import (
    builtin_types,
    decoding,
    encoding,
    framework_types,
    layouts,
    pickling,
    plain,
    registry,
    type_names,
)

Read = decoding.Read
to_plain = plain.to_plain

_CLASS, _CUSTOM = "@", "%"
_NO_VALUES = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, msgspec.MsgspecError)
"""What reading a body that this codec did not make can raise."""


class Encoded(NamedTuple):
    """An encoded value: the reference to it, and all that is to be stored for it, parts first."""

    ref: refs.Ref
    blobs: list[refs.Blob]


class Codec:
    """Encodes and decodes the values of one app.

    Args:
        known: The classes that values may have.
        allow_pickle: Pickle what has no other encoding.
        pickle_key: The secret that authenticates pickles; 16 to 64 bytes, needed with ``allow_pickle``.
    """

    def __init__(
        self, registry: registry.Registry, *, allow_pickle: bool = False, pickle_key: bytes | None = None
    ) -> None:
        self._known = registry
        self._pickling = pickling.Pickling(pickle_key) if allow_pickle else None
        self._version = -1
        self._handlers: dict[type, encoding.Handler] = {}
        self._readers: dict[str, decoding.Handler] = {}
        self._refresh()

    def encode(
        self,
        value: Any,
        blobs: list[refs.Blob],
        *,
        where: str,
        inline_limit: int = refs.INLINE_LIMIT_BYTES,
    ) -> refs.Ref:
        """Encode a value.

        Args:
            value: What to encode.
            blobs: What is to be stored is appended here, parts before wholes.
            where: What the value is, for errors: ``shared state key 'email'``.
            inline_limit: A value whose encoding is at most so many bytes is carried in the reference.

        Raises:
            CodecError: If something in the value has no encoding; says what and where it is.
        """
        kind = type(value)
        hoisted = False
        if kind is str:
            body = _text(value)
        elif (
            value is None
            or kind is bool
            or (kind is int and -(2**63) <= value < 2**64)
            or (kind is float and math.isfinite(value))
        ):
            body = encoding.PLAIN + encoding.to_json(value)
        elif kind is bytes:
            body = encoding.BYTES + value
        else:
            body, parts = self._walk(value, where)
            hoisted = bool(parts)
            blobs.extend(parts)
        if len(body) <= inline_limit and not hoisted:
            return refs.Ref(body)
        item = refs.blob(body)
        blobs.append(item)
        return refs.stored(item)

    def encoded(self, value: object, *, where: str) -> Encoded:
        """Encode a value and give all that came of it."""
        blobs: list[refs.Blob] = []
        return Encoded(self.encode(value, blobs, where=where), blobs)

    def decode(self, ref: refs.Ref, read: Read) -> Any:
        """Give back a value.

        Args:
            ref: What ``encode`` gave.
            read: Gives an encoded body by its digest and owner; what it raises is passed on.

        Raises:
            CodecError: If the body is damaged, or holds a class that is not known.
            PayloadMissing: If a part is not there.
        """
        body = ref.inline
        if body is None:
            body = read(ref.digest, ref.owner)
        try:
            kind = body[0]
            if kind == _STRING:
                return body[1:].decode()
            if kind == _PLAIN:
                return decoding.from_json(body[1:])
            self._refresh()
            return decoding.Decoding(self, self._readers, read, ref.owner).body(body)
        except decoding.ReadFailed as failed:
            raise failed.cause from None
        except errors.PerdureError:
            raise
        except decoding.Corrupt as exc:
            raise errors.CodecError(f"A payload cannot be decoded: {exc}.") from exc
        except _NO_VALUES as exc:
            raise errors.CodecError(f"A payload cannot be decoded: {type(exc).__name__}: {exc}.") from exc

    def resolve(self, name: str) -> type:
        """Give a class that payloads may hold by its name, ``module:qualname``.

        Raises:
            CodecError: If there is none of that name, or payloads may not hold it.
        """
        return self._known.resolve(name)

    def plain(self, ref: refs.Ref, read: Read) -> Any:
        """Give a value as plain JSON for clients; see ``to_plain``."""
        return plain.to_plain(self.decode(ref, read), self._known)

    def shown(self, value: object) -> Any:
        """Give a live value as plain JSON for clients; see ``to_plain``."""
        return plain.to_plain(value, self._known)

    def handler(self, cls: type, value: object) -> encoding.Handler:
        """Find how a class that was not met before is encoded.

        Raises:
            Refused: If it has no encoding.
        """
        made = None
        if type_names.is_type(value):
            return lambda e, item, depth: type_names.encode(e, self._known, item)
        custom = self._known.custom(cls)
        origin, arguments = _origin(cls)
        name = self._known.name_of(origin)
        if custom is not None:
            made = layouts.custom(_CUSTOM + registry.class_name(cls), custom)
        elif name is not None and not framework_types.is_live(cls):
            made = layouts.layout(cls, _CLASS + name)
            if made is not None and layouts.pickles_by_state(cls) and layouts.hides_state(value):
                made = None
        if made is None:
            if self._pickling is None:
                raise encoding.Refused(value, _reason(cls, name), encoding.REMEDY)
            return self._pickle
        found = made.encode
        if arguments:
            found = _with_arguments(made.encode, arguments)
        self._handlers[cls] = found
        return found

    def reader(self, tag: Any) -> decoding.Handler:
        """Find how what bears a tag that was not met before is decoded."""
        if type(tag) is not str or tag[:1] not in (_CLASS, _CUSTOM):
            raise decoding.Corrupt(f"it holds the unknown tag {tag!r:.60}")
        cls = self._known.resolve(tag[1:])
        if tag[0] == _CUSTOM:
            functions = self._known.custom(cls)
            made = layouts.custom(tag, functions) if functions is not None else None
        else:
            made = None if framework_types.is_live(cls) else layouts.layout(cls, tag)
        if made is None:
            raise decoding.Corrupt(f"nothing here decodes a {tag[1:]}")
        found = made.decode
        if hasattr(cls, "__pydantic_generic_metadata__"):
            found = self._specialised(cls, tag, found)
        self._readers[tag] = found
        return found

    def unpickle(self, body: bytes) -> Any:
        """Give back a pickled value, if the app allows it."""
        if self._pickling is None:
            raise errors.CodecError(
                "A payload was pickled, and pickles are not allowed.", "Set allow_pickle=True to read it."
            )
        return self._pickling.loads(body)

    def _refresh(self) -> None:
        version = self._known.version
        if version != self._version:
            self._version = version
            self._handlers = {**builtin_types.ENCODERS, **framework_types.ENCODERS}
            self._readers = {
                **builtin_types.DECODERS,
                **framework_types.DECODERS,
                "type": lambda d, node: type_names.decode(self._known, node["v"]),
                "pickle": lambda d, node: self.unpickle(decoding.from_base64(node["v"])),
            }

    def _walk(self, value: object, where: str, *, wide: bool = False) -> tuple[bytes, list[refs.Blob]]:
        self._refresh()
        walk = encoding.Encoding(self, self._handlers, wide=wide)
        try:
            node = framework_types.own(walk, value, 0) if type(value) in framework_types.WHOLE else walk.node(value, 0)
            text = encoding.to_json(node)
        except encoding.Refused as refused:
            raise _explained(refused, where) from refused
        except UnicodeEncodeError:
            if wide:
                raise
            return self._walk(value, where, wide=True)
        except RecursionError as exc:
            raise _explained(encoding.too_deep(value), where) from exc
        return (encoding.TYPED if walk.tagged else encoding.PLAIN) + text, walk.blobs

    def _pickle(self, e: encoding.Encoding, value: object, depth: int) -> encoding.Node:
        assert self._pickling is not None
        body = self._pickling.dumps(value)
        return e.store(encoding.PICKLED + body) if len(body) >= refs.INLINE_LIMIT_BYTES else e.tag("pickle", body)

    def _specialised(self, cls: type, tag: str, general: decoding.Handler) -> decoding.Handler:
        """Decode to the class with its type arguments, ``Box[int]``, where it was encoded with them."""

        def read(d: decoding.Decoding, node: dict[str, Any]) -> Any:
            arguments = node.pop(_ARGUMENTS, None)
            if arguments is None:
                return general(d, node)
            exact: Any = cls
            made = layouts.layout(exact[tuple(d.sequence(arguments))], tag)
            assert made is not None
            return made.decode(d, node)

        return read


_STRING, _PLAIN = encoding.STRING[0], encoding.PLAIN[0]
_ARGUMENTS = "$args"


def _text(value: str) -> bytes:
    try:
        return encoding.STRING + value.encode()
    except UnicodeEncodeError:
        return encoding.WIDE + value.encode("utf-8", "surrogatepass")


def _origin(cls: type) -> tuple[type, tuple[Any, ...]]:
    metadata = getattr(cls, "__pydantic_generic_metadata__", None)
    if metadata and metadata["args"]:
        return metadata["origin"], metadata["args"]
    return cls, ()


def _with_arguments(encode: encoding.Handler, arguments: tuple[Any, ...]) -> encoding.Handler:
    def encoded(e: encoding.Encoding, value: Any, depth: int) -> encoding.Node:
        node = encode(e, value, depth)
        node[_ARGUMENTS] = e.sequence(arguments, depth)
        return node

    return encoded


def _reason(cls: type, name: str | None) -> str:
    full = f"{cls.__module__}.{cls.__qualname__}"
    if framework_types.is_live(cls):
        return f"holds a {full}, which does things and is no data"
    if name is not None:
        return f"holds a {full}, whose state cannot be seen from Python"
    if "<locals>" in cls.__qualname__:
        return f"holds a {full}, a class made inside a function, which cannot be found again by its name"
    return f"holds a {full}, which has no encoding"


def _explained(refused: encoding.Refused, where: str) -> errors.CodecError:
    holders = [id(holder) for _, holder in refused.steps]
    if refused.deep and len(set(holders)) < len(holders):
        refused = encoding.Refused(refused.value, "contains itself", "Break the cycle, or keep an id instead.")
    elif refused.deep:
        refused.steps.clear()
    return refused.error(where)
