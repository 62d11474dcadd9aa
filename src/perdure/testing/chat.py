"""A chat client that answers from a script: real framework layers, no model, no network."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import pydantic
from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatOptions,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FinishReason,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
    Role,
    UsageDetails,
)
from agent_framework.observability import ChatTelemetryLayer

from perdure.testing import script

Answer: TypeAlias = str | pydantic.BaseModel | Message | ChatResponse[Any] | Content | Sequence[Content] | BaseException
"""What a script may hold: a text; a model, answered as its JSON; a message; a whole response; contents such as
:func:`tool_call` makes, one or several; or an exception, which is raised."""

AnswerFunction: TypeAlias = Callable[[Sequence[Message], Mapping[str, Any]], Answer | Awaitable[Answer]]
"""Gives the answer for the messages and the chat options; may be async, to wait for something first."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the client was asked.

    Attributes:
        messages: The messages, as the model would have been sent them.
        options: The chat options, with tools, instructions and response format.
        stream: Whether a stream was asked for.
    """

    messages: tuple[Message, ...]
    options: Mapping[str, Any]
    stream: bool


def tool_call(name: str, arguments: Mapping[str, Any] | None = None, *, call_id: str = "") -> Content:
    """Give an answer that calls a tool.

    Args:
        name: The tool's name.
        arguments: Its arguments.
        call_id: The id of the call; without it the client gives one that is new and the same in every run of a test.
    """
    return Content.from_function_call(call_id, name, arguments=dict(arguments or {}))


class ScriptedChatClient(
    FunctionInvocationLayer[ChatOptions[Any]],
    ChatMiddlewareLayer[ChatOptions[Any]],
    ChatTelemetryLayer[ChatOptions[Any]],
    BaseChatClient[ChatOptions[Any]],
):
    """Answers from a script and remembers what it was asked.

    Tools are invoked, middleware runs and ``response_format`` is honoured as with the framework's own clients.
    A stream comes in pieces of a word each. One client may serve many agents, runs and threads at once; an order among
    concurrent calls is for a function to give.

    Args:
        answers: The answers, one a call, or a function that gives one.
        usage: The tokens that each call is said to have used.
        middleware: Chat and function middleware, as for any client.

    Raises:
        ScriptExhausted: On a call after the last answer was given.
    """

    OTEL_PROVIDER_NAME: ClassVar[str] = "scripted"

    def __init__(
        self,
        answers: Iterable[Answer] | AnswerFunction,
        *,
        usage: UsageDetails | None = None,
        middleware: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(middleware=middleware)
        self._script: script.Script[Request, Answer | Awaitable[Answer]] = script.Script(_asking(answers))
        self._usage = usage

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptedChatClient:
        # One script and one record of requests, even where an agent that holds the client is copied.
        return self

    @property
    def requests(self) -> list[Request]:
        """What was asked so far, in order."""
        return self._script.asked

    @property
    def remaining(self) -> int:
        """How many answers were not given yet; 0 where a function answers."""
        return self._script.remaining

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> Awaitable[ChatResponse[Any]] | ResponseStream[ChatResponseUpdate, ChatResponse[Any]]:
        request = Request(tuple(messages), dict(options), stream)
        if stream:
            return self._build_response_stream(
                self._stream(request), response_format=request.options.get("response_format")
            )
        return self._respond(request)

    async def _respond(self, request: Request) -> ChatResponse[Any]:
        number, answer = self._script.ask(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, ChatResponse):
            return answer
        message = _message(answer, number)
        return ChatResponse(
            messages=message,
            response_id=f"scripted-{number}",
            model="scripted",
            finish_reason="tool_calls" if any(item.type == "function_call" for item in message.contents) else "stop",
            usage_details=self._usage,
            response_format=request.options.get("response_format"),
        )

    async def _stream(self, request: Request) -> AsyncIterator[ChatResponseUpdate]:
        response = await self._respond(request)
        for update in _updates(response):
            yield update


def _asking(
    answers: Iterable[Answer] | AnswerFunction,
) -> Iterable[Answer | Awaitable[Answer]] | Callable[[Request], Answer | Awaitable[Answer]]:
    if not callable(answers):
        return answers
    function = answers
    return lambda request: function(request.messages, request.options)


def _message(answer: str | pydantic.BaseModel | Message | Content | Sequence[Content], number: int) -> Message:
    if isinstance(answer, Message):
        return answer
    if isinstance(answer, pydantic.BaseModel):
        answer = answer.model_dump_json()
    if isinstance(answer, str):
        return Message("assistant", [answer], message_id=f"scripted-{number}")
    contents = [answer] if isinstance(answer, Content) else answer
    return Message(
        "assistant",
        [_with_call_id(item, f"call-{number}-{position}") for position, item in enumerate(contents, 1)],
        message_id=f"scripted-{number}",
    )


def _with_call_id(content: Content, call_id: str) -> Content:
    if content.type != "function_call" or content.call_id or content.name is None:
        return content
    return Content.from_function_call(call_id, content.name, arguments=content.arguments)


def _updates(response: ChatResponse[Any]) -> Iterable[ChatResponseUpdate]:
    """Cut a response into the pieces of a stream, from which the framework puts the same response together."""
    for message in response.messages:
        for content in message.contents:
            for piece in _pieces(content):
                yield ChatResponseUpdate(
                    contents=[piece],
                    role=Role(message.role),
                    author_name=message.author_name,
                    message_id=message.message_id,
                    response_id=response.response_id,
                    model=response.model,
                )
    yield ChatResponseUpdate(
        contents=[Content.from_usage(response.usage_details)] if response.usage_details else [],
        role="assistant",
        message_id=response.messages[-1].message_id if response.messages else None,
        response_id=response.response_id,
        conversation_id=response.conversation_id,
        model=response.model,
        finish_reason=FinishReason(response.finish_reason) if response.finish_reason else None,
    )


def _pieces(content: Content) -> Iterable[Content]:
    if content.type != "text" or not content.text:
        return [content]
    return [Content.from_text(word) for word in re.findall(r"\S*\s*", content.text) if word]
