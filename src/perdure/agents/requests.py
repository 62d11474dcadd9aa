"""What an agent is asked: read from JSON or text, checked, and made into messages and options."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeGuard

import msgspec
import pydantic
from agent_framework import AgentResponse, Content, Message, WorkflowAgent

from perdure import errors

ROLES: Final = ("user", "system", "assistant", "developer")
_SCHEMA_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_FORMAT_TYPES: Final = frozenset({"json_schema", "json_object", "text"})
_DATA_URI: Final = re.compile(r"data:(?P<media>[\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)

Part = Mapping[str, Any]


class Request(msgspec.Struct, frozen=True):
    """One request to an agent.

    Attributes:
        messages: What it is told.
        response_format: A JSON schema, or in code a pydantic model, of what it shall answer.
        tools: Whether it may call tools.
        options: Further chat options.
        text: What it was told, as text.
    """

    messages: tuple[Message, ...]
    response_format: Any = None
    tools: bool = True
    options: dict[str, Any] = {}
    text: str = ""


def read(
    message: Any, *, role: Any = None, response_format: Any = None, tools: bool = True, options: Any = None
) -> Request:
    """Read a request of a client.

    Args:
        message: A text, or a list of content parts.
        role: Whose words it is; the user's if not given.
        response_format: A JSON schema of the answer.
        tools: Whether the agent may call tools.
        options: Further chat options, an object.

    Raises:
        EmptyInput: If the message says nothing.
        InvalidInput: If something is not what it may be; says where.
    """
    contents = _contents(message)
    if not contents:
        raise errors.EmptyInput("Message is required.", 'Send {"message": "..."}, or text.')
    return told([Message(_role(role), contents)], response_format=response_format, tools=tools, options=options)


def told(
    messages: Sequence[Message], *, response_format: Any = None, tools: bool = True, options: Any = None
) -> Request:
    """Make a request of messages; the rest is as for :func:`read`.

    Raises:
        InvalidInput: If something is not what it may be; says where.
    """
    text = "\n".join(
        "".join(content.text or "" for content in message.contents if content.type == "text") for message in messages
    )
    return Request(tuple(messages), _response_format(response_format), tools, _options(options), text)


def to_value(request: Request) -> dict[str, Any]:
    """Give a request as a value that the codec encodes; what is as usual is left out."""
    value: dict[str, Any] = {"messages": list(request.messages), "text": request.text}
    if request.response_format is not None:
        value["response_format"] = request.response_format
    if not request.tools:
        value["tools"] = False
    if request.options:
        value["options"] = request.options
    return value


def of_value(value: Mapping[str, Any]) -> Request:
    """Give a request back from its value."""
    return Request(
        tuple(value["messages"]),
        value.get("response_format"),
        value.get("tools", True),
        value.get("options", {}),
        value["text"],
    )


def is_model(response_format: Any) -> TypeGuard[type[pydantic.BaseModel]]:
    """Say whether an answer is to be a pydantic model."""
    return isinstance(response_format, type) and issubclass(response_format, pydantic.BaseModel)


def open_in(response: AgentResponse[Any]) -> list[Content]:
    """Give what a response asks of whoever it answers: an approval, or what a workflow wants to be told."""
    return [
        content
        for message in response.messages
        for content in message.contents
        if content.user_input_request
        or (content.type == "function_call" and content.name == WorkflowAgent.REQUEST_INFO_FUNCTION_NAME)
    ]


def _contents(message: Any) -> list[Content]:
    if message is None:
        return []
    if isinstance(message, str):
        return [Content.from_text(message)] if message.strip() else []
    if isinstance(message, bool | int | float):
        return [Content.from_text(str(message))]
    if isinstance(message, list):
        contents = [_part(part, f"/message/{place}") for place, part in enumerate(message)]
        return [content for content in contents if content.type != "text" or (content.text or "").strip()]
    raise _invalid("/message", "it must be a text, or a list of content parts")


def _part(part: Any, where: str) -> Content:
    if isinstance(part, str):
        return Content.from_text(part)
    kind = part.get("type") if isinstance(part, dict) else None
    reader = _PARTS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise _invalid(where, f"it must be a text or an object whose type is one of {', '.join(_PARTS)}")
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
        raise _invalid(f"{where}/result", "it must be there")
    found = Content.from_function_result(_string(part, "call_id", where), result="")
    found.result = part["result"]
    return found


def _approval(part: Part, where: str) -> Content:
    """Read an answer to a request for approval; what is approved is what was asked, and is not read here."""
    approved = part.get("approved")
    if not isinstance(approved, bool):
        raise _invalid(f"{where}/approved", "it must be true or false")
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
        raise _invalid(where, "media_type must be one such as image/png")
    if uri.startswith("data:"):
        found = _DATA_URI.fullmatch(uri)
        if found is None:
            raise _invalid(where, "a data URI must be data:<media type>;base64,<data>")
        try:
            data = base64.b64decode(found["data"], validate=True)
        except binascii.Error as error:
            raise _invalid(where, f"the data is not valid base64: {error}") from None
        if not data:
            raise _invalid(where, "there is no data in it")
        return Content.from_uri(uri, media_type=media_type or found["media"], name=_name(part, where))
    if not uri.startswith(("https://", "http://")):
        raise _invalid(where, "it must be an http, https or data URI")
    if not (media_type or usual_type):
        raise _invalid(where, "say its media_type, such as image/png")
    return Content.from_uri(uri, media_type=media_type or usual_type, name=_name(part, where))


def _name(part: Part, where: str) -> str | None:
    for key in ("name", "filename"):
        if part.get(key) is not None:
            return _string(part, key, where)
    return None


def _string(part: Part, key: str, where: str) -> str:
    value = part.get(key)
    if not isinstance(value, str):
        raise _invalid(f"{where}/{key}", "it must be a text")
    return value


def _role(role: Any) -> str:
    if role is None or role == "":
        return "user"
    folded = role.strip().lower() if isinstance(role, str) else ""
    if folded not in ROLES:
        raise _invalid("/role", f"it must be one of {', '.join(ROLES)}")
    return folded


def _response_format(given: Any) -> dict[str, Any] | type[pydantic.BaseModel] | None:
    if given is None or is_model(given):
        return given
    if not isinstance(given, dict) or not given:
        raise _invalid("/response_format", "it must be a JSON schema, an object")
    kind = given.get("type")
    if kind == "json_schema":
        inner = given.get("json_schema")
        if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
            raise _invalid("/response_format/json_schema", "it must be an object with a name and a schema")
        _check_schema(inner["schema"], "/response_format/json_schema/schema")
        return given
    if isinstance(kind, str) and kind in _FORMAT_TYPES:
        return given
    _check_schema(given, "/response_format")
    return given


def _check_schema(schema: Any, where: str) -> None:
    """Refuse what is no JSON schema: the model's service would, after a call."""
    if not isinstance(schema, dict):
        raise _invalid(where, "it must be a schema, an object")
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _SCHEMA_TYPES:
            raise _invalid(f"{where}/type", f"it must be one of {', '.join(sorted(_SCHEMA_TYPES))}")
    for key in ("properties", "$defs"):
        inner = schema.get(key, {})
        if not isinstance(inner, dict):
            raise _invalid(f"{where}/{key}", "it must be an object")
        for name, item in inner.items():
            _check_part(item, f"{where}/{key}/{name}")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        parts = schema.get(key, [])
        if not isinstance(parts, list):
            raise _invalid(f"{where}/{key}", "it must be a list of schemas")
        for place, item in enumerate(parts):
            _check_part(item, f"{where}/{key}/{place}")
    for key in ("items", "additionalProperties", "not"):
        _check_part(schema.get(key, True), f"{where}/{key}")
    if not isinstance(schema.get("enum", []), list):
        raise _invalid(f"{where}/enum", "it must be a list of values")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _invalid(f"{where}/required", "it must be a list of names")


def _check_part(item: Any, where: str) -> None:
    if not isinstance(item, bool):
        _check_schema(item, where)


def _options(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _invalid("/options", "it must be an object")
    if "response_format" in given:
        raise _invalid("/options/response_format", "give it beside the options")
    return given


def _invalid(pointer: str, what: str) -> errors.InvalidInput:
    return errors.InvalidInput([(pointer, what)])
