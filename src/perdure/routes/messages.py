"""What a route is asked, and what it answers: the same on every host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import msgspec

from perdure.payloads.codec import plain

T = TypeVar("T")

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, read whole.

    Attributes:
        method: In capitals; a HEAD request arrives as GET.
        path: Below the route prefix, decoded, without a leading slash.
        params: The path's parameters, decoded.
        query: The query's parameters; the values of a repeated one are joined with commas.
        headers: By lower-case name.
        body: Empty if there is none.
        origin: Scheme and authority that the request was sent to, such as ``http://127.0.0.1:7071``.
        client: The peer's address; empty where the host does not tell.
        authorised: Whether the caller showed a key, or needs none here.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    origin: str = ""
    client: str = ""
    authorised: bool = True


class Reply(msgspec.Struct, frozen=True):
    """One HTTP response.

    Attributes:
        status: The HTTP status code.
        headers: By lower-case name.
        body: The whole body, or its parts as they come; whoever sends it closes the iterator.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | AsyncIterator[bytes] = b""


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with a JSON value; lone surrogates, which models sometimes give and JSON cannot hold, are replaced."""
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:
        body = msgspec.json.encode(plain.to_plain(value))
    return Reply(status, {"content-type": JSON, **(headers or {})}, body)


def decode(body: bytes, kind: type[T] | Any = Any) -> T:
    """Read JSON.

    Raises:
        DecodeError: If it is none, or not of the type; what is nested too deeply is taken for none.
    """
    try:
        found: T = msgspec.json.decode(body, type=kind)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None
    return found


def media_type(header: str) -> str:
    """Give a content type without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()
