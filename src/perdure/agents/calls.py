"""Calls of an agent by an orchestration, as plain JSON: what its entity is given, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from agent_framework import AgentResponse, Content, Message, normalize_messages

from perdure import errors
from perdure.agents import requests, response_formats
from perdure.payloads.codec import registry

RUN: Final = "run"
OPERATIONS: Final = frozenset({RUN, "run_agent"})
"""What an agent's entity is called for; the second is its old name."""

RESET: Final = "reset"

_KIND: Final = "__response_schema_type__"
_MODEL: Final = "pydantic_model"

Messages = str | Content | Message | Sequence[str | Content | Message] | None
"""What an agent can be told."""


class Options(NamedTuple):
    """The options of a call; what is the host's own is taken out of those that the agent gets.

    Attributes:
        response_format: A pydantic model or a JSON schema of the answer.
        tools: Whether the agent may call tools.
        wait: Whether the orchestration waits for the answer.
        agent: Options for the agent.
    """

    response_format: Any
    tools: bool
    wait: bool
    agent: dict[str, Any]


class Call(NamedTuple):
    """A call as an agent's entity reads it."""

    correlation_id: str
    request: requests.Request


def options_of(given: Mapping[str, Any] | None) -> Options:
    """Read the options of a call.

    Raises:
        ValueError: If one of them cannot travel, or the response format is none.
    """
    agent = dict(given or {})
    options = Options(
        agent.pop("response_format", None),
        bool(agent.pop("enable_tool_calls", True)),
        bool(agent.pop("wait_for_response", True)),
        agent,
    )
    for name, value in agent.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"options[{name!r}] cannot travel to a durable agent, whose turn may run in another process: {error}. "
                "Set it where the agent is built."
            ) from None
    asked = options.response_format
    if asked is not None and not isinstance(asked, Mapping) and not response_formats.is_model(asked):
        raise ValueError(f"response_format is {asked!r}; give a pydantic model or a JSON schema.")
    return options


def write(messages: Messages, options: Options, correlation_id: str, orchestration_id: str) -> dict[str, Any]:
    """Write a call.

    Raises:
        ValueError: If it says nothing.
    """
    told = normalize_messages(messages)
    if not any(content.type != "text" or (content.text or "").strip() for item in told for content in item.contents):
        raise ValueError("An agent must be told something: give run() a message.")
    written: dict[str, Any] = {
        "message": "\n".join(message.text for message in told),
        "role": told[0].role,
        "enable_tool_calls": options.tools,
        "wait_for_response": options.wait,
        "correlationId": correlation_id,
        "orchestrationId": orchestration_id,
        "options": options.agent,
    }
    if not isinstance(messages, str):
        written["messages"] = [message.to_dict() for message in told]
    if options.response_format is not None:
        written["response_format"] = _format(options.response_format)
    return written


def read(given: Any, correlation_id: str, resolve: Callable[[str], type]) -> Call:
    """Read a call, or a bare text that the agent is told.

    Args:
        given: The call.
        correlation_id: Its name if it has none.
        resolve: Gives an admitted class by its name; raises CodecError if there is none.

    Raises:
        EmptyInput: If it says nothing.
        InvalidInput: If it is no call.
    """
    call: Mapping[str, Any] = given if isinstance(given, dict) else {"message": given}
    asked = _format_of(call.get("response_format"), resolve)
    tools = call.get("enable_tool_calls") is not False
    options = call.get("options")
    if call.get("messages"):
        messages = _messages(call["messages"])
        request = requests.told(messages, response_format=asked, tools=tools, options=options)
    else:
        message, role = call.get("message"), call.get("role")
        request = requests.read(message, role=role, response_format=asked, tools=tools, options=options)
    named = call.get("correlationId")
    return Call(named if isinstance(named, str) and named else correlation_id, request)


def answer(response: AgentResponse[Any]) -> dict[str, Any]:
    """Write an agent's response; what is no plain JSON in it is left out, as the framework does."""
    return response.to_dict()


def response(answered: Any, response_format: Any) -> AgentResponse[Any]:
    """Read an agent's response.

    Raises:
        ValueError: If it is none, or is not of the format that was asked for.
    """
    if not isinstance(answered, dict):
        raise ValueError(f"The agent's entity answered a {type(answered).__name__}, which is no response of an agent.")
    fields = {name: value for name, value in answered.items() if name != "type"}
    try:
        found: AgentResponse[Any] = AgentResponse(**fields, response_format=response_format)
    except TypeError as error:
        raise ValueError(f"What the agent's entity answered is no response of an agent: {error}") from error
    if response_format is not None and found.value is None:
        raise ValueError("The agent was asked for structured output and answered nothing.")
    return found


def _messages(given: Any) -> list[Message]:
    if not isinstance(given, list):
        raise errors.InvalidInput.at("/messages", "it must be a list of messages")
    found: list[Message] = []
    for place, item in enumerate(given):
        try:
            found.append(Message.from_dict(item))
        except Exception as error:
            raise errors.InvalidInput.at(f"/messages/{place}", f"it is no message: {error}") from error
    return found


def _format(asked: Any) -> dict[str, Any]:
    """Write a response format; with a model's name goes its schema, for where the class cannot be had."""
    if not response_formats.is_model(asked):
        return dict(asked)
    module, _, qualname = registry.class_name(asked).partition(":")
    return {_KIND: _MODEL, "module": module, "qualname": qualname, "schema": asked.model_json_schema()}


def _format_of(written: Any, resolve: Callable[[str], type]) -> Any:
    if not isinstance(written, dict) or written.get(_KIND) != _MODEL:
        return written
    try:
        found = resolve(f"{written.get('module')}:{written.get('qualname')}")
    except errors.CodecError:
        found = None
    return found if response_formats.is_model(found) else written.get("schema")
