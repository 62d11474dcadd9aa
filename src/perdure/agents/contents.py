"""What an agent is told: a text, or content parts as clients of several makes write them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent_framework import Content

from perdure import errors

_DATA_URI: Final = re.compile(r"data:(?P<media>[\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)

Part = Mapping[str, Any]


def read(message: Any) -> list[Content]:
    """Read what an agent is told; empty if it says nothing.

    Args:
        message: A text, or a list of content parts.

    Raises:
        InvalidInput: If a part is none; says where.
    """
    if message is None:
        return []
    if isinstance(message, str):
        return [Content.from_text(message)] if message.strip() else []
    if isinstance(message, bool | int | float):
        return [Content.from_text(str(message))]
    if isinstance(message, list):
        contents = [_part(part, f"/message/{place}") for place, part in enumerate(message)]
        return [content for content in contents if content.type != "text" or (content.text or "").strip()]
    raise errors.InvalidInput.at("/message", "it must be a text, or a list of content parts")


def _part(part: Any, where: str) -> Content:
    if isinstance(part, str):
        return Content.from_text(part)
    kind = part.get("type") if isinstance(part, dict) else None
    reader = _PARTS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise errors.InvalidInput.at(where, f"it must be a text or an object whose type is one of {', '.join(_PARTS)}")
    return reader(part, where)


def _text(part: Part, where: str) -> Content:
    return Content.from_text(_string(part, "text", where))


def _uri(part: Part, where: str) -> Content:
    return _linked(_string(part, "uri", where), part, f"{where}/uri")


def _image_url(part: Part, where: str) -> Content:
    image = part.get("image_url")
    if isinstance(image, dict):
        return _linked(_string(image, "url", f"{where}/image_url"), part, f"{where}/image_url/url", "image/*")
    return _linked(_string(part, "image_url", where), part, f"{where}/image_url", "image/*")


def _file(part: Part, where: str) -> Content:
    inner = part["file"] if isinstance(part.get("file"), dict) else part
    if "file_id" in inner:
        return Content.from_hosted_file(_string(inner, "file_id", where), name=_name(inner, where))
    return _linked(_string(inner, "file_data", where), inner, f"{where}/file_data")


def _hosted_file(part: Part, where: str) -> Content:
    return Content.from_hosted_file(_string(part, "file_id", where), name=_name(part, where))


def _result(part: Part, where: str) -> Content:
    """Read an answer to what a workflow asks."""
    if "result" not in part:
        raise errors.InvalidInput.at(f"{where}/result", "it must be there")
    found = Content.from_function_result(_string(part, "call_id", where), result="")
    found.result = part["result"]
    return found


def _approval(part: Part, where: str) -> Content:
    """Read an answer to a request for approval; what is approved is what was asked, and is not read here."""
    approved = part.get("approved")
    if not isinstance(approved, bool):
        raise errors.InvalidInput.at(f"{where}/approved", "it must be true or false")
    name = _string(part, "id", where)
    return Content.from_function_approval_response(approved, name, Content.from_function_call(name, ""))


_PARTS: Final[Mapping[str, Callable[[Part, str], Content]]] = {
    "text": _text,
    "input_text": _text,
    "uri": _uri,
    "data": _uri,
    "image_url": _image_url,
    "input_image": _image_url,
    "file": _file,
    "input_file": _file,
    "hosted_file": _hosted_file,
    "function_result": _result,
    "function_approval_response": _approval,
}


def _linked(uri: str, part: Part, where: str, usual_type: str = "") -> Content:
    """Read an address, or data in one; data is checked here and not by the model's service, three layers down."""
    media_type = part.get("media_type")
    if media_type is not None and not (isinstance(media_type, str) and "/" in media_type):
        raise errors.InvalidInput.at(where, "media_type must be one such as image/png")
    if uri.startswith("data:"):
        found = _DATA_URI.fullmatch(uri)
        if found is None:
            raise errors.InvalidInput.at(where, "a data URI must be data:<media type>;base64,<data>")
        try:
            data = base64.b64decode(found["data"], validate=True)
        except binascii.Error as error:
            raise errors.InvalidInput.at(where, f"the data is not valid base64: {error}") from None
        if not data:
            raise errors.InvalidInput.at(where, "there is no data in it")
        return Content.from_uri(uri, media_type=media_type or found["media"], name=_name(part, where))
    if not uri.startswith(("https://", "http://")):
        raise errors.InvalidInput.at(where, "it must be an http, https or data URI")
    if not (media_type or usual_type):
        raise errors.InvalidInput.at(where, "say its media_type, such as image/png")
    return Content.from_uri(uri, media_type=media_type or usual_type, name=_name(part, where))


def _name(part: Part, where: str) -> str | None:
    for key in ("name", "filename"):
        if part.get(key) is not None:
            return _string(part, key, where)
    return None


def _string(part: Part, key: str, where: str) -> str:
    value = part.get(key)
    if not isinstance(value, str):
        raise errors.InvalidInput.at(f"{where}/{key}", "it must be a text")
    return value
