"""What an agent is asked: read from JSON or text, checked, and made into messages and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from agent_framework import AgentResponse, Content, Message, WorkflowAgent

from perdure import errors
from perdure.agents import contents, response_formats

ROLES: Final = ("user", "system", "assistant", "developer")


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
    said = contents.read(message)
    if not said:
        raise errors.EmptyInput("Message is required.", 'Send {"message": "..."}, or text.')
    return told([Message(_role(role), said)], response_format=response_format, tools=tools, options=options)


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
    return Request(tuple(messages), response_formats.read(response_format), tools, _options(options), text)


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


def open_in(response: AgentResponse[Any]) -> list[Content]:
    """Give what a response asks of whoever it answers: an approval, or what a workflow wants to be told."""
    return [
        content
        for message in response.messages
        for content in message.contents
        if content.user_input_request
        or (content.type == "function_call" and content.name == WorkflowAgent.REQUEST_INFO_FUNCTION_NAME)
    ]


def _role(role: Any) -> str:
    if role is None or role == "":
        return "user"
    folded = role.strip().lower() if isinstance(role, str) else ""
    if folded not in ROLES:
        raise errors.InvalidInput.at("/role", f"it must be one of {', '.join(ROLES)}")
    return folded


def _options(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise errors.InvalidInput.at("/options", "it must be an object")
    if "response_format" in given:
        raise errors.InvalidInput.at("/options/response_format", "give it beside the options")
    return given
