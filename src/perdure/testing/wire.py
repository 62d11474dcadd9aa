"""The two wire formats of a scripted model server: chat completions and responses, whole and as events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model asks for.

    Attributes:
        name: The tool's name.
        arguments: Its arguments.
        call_id: The id of the call; without it the server gives one.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model.

    Attributes:
        number: The number of the call that it answers; ids are made from it.
        model: The model's name.
        text: What it says.
        tool_calls: What it asks for.
    """

    number: int
    model: str
    text: str = ""
    tool_calls: Sequence[ToolCall] = ()

    def call_id(self, position: int) -> str:
        """Give the id of the tool call at this position."""
        return self.tool_calls[position].call_id or f"call_{self.number}_{position}"


def words(text: str) -> list[str]:
    """Cut a text into the pieces of a stream."""
    return [word for word in re.findall(r"\S*\s*", text) if word]


def completion(turn: Turn) -> Json:
    """Give a turn as a chat completion."""
    message: Json = {"role": "assistant", "content": turn.text or None}
    if turn.tool_calls:
        message["tool_calls"] = _tool_calls(turn)
    return {
        **_completion_head(turn, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(turn)}],
        "usage": _completion_usage(turn),
    }


def completion_events(turn: Turn) -> Iterable[Json]:
    """Give a turn as the chunks of a streamed chat completion."""
    head = _completion_head(turn, "chat.completion.chunk")

    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    yield chunk({"role": "assistant", "content": ""})
    for word in words(turn.text):
        yield chunk({"content": word})
    for position, call in enumerate(_tool_calls(turn)):
        yield chunk({"tool_calls": [{"index": position, **call}]})
    yield chunk({}, _finish_reason(turn))
    yield {**head, "choices": [], "usage": _completion_usage(turn)}


def response(turn: Turn) -> Json:
    """Give a turn as a response object."""
    return {**_response_head(turn), "status": "completed", "output": _output(turn), "usage": _response_usage(turn)}


def response_events(turn: Turn) -> Iterable[Json]:
    """Give a turn as the events of a streamed response."""
    for number, event in enumerate(_response_events(turn)):
        yield {**event, "sequence_number": number}


def _response_events(turn: Turn) -> Iterable[Json]:
    begun = {**_response_head(turn), "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    for index, item in enumerate(_output(turn)):
        at: Json = {"output_index": index, "item_id": item["id"]}
        added: Json = {"content": []} if item["type"] == "message" else {"arguments": ""}
        yield {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**item, **added, "status": "in_progress"},
        }
        if item["type"] == "message":
            part = item["content"][0]
            at["content_index"] = 0
            yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
            for word in words(turn.text):
                yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}
            yield {"type": "response.output_text.done", **at, "text": turn.text, "logprobs": []}
            yield {"type": "response.content_part.done", **at, "part": part}
        else:
            arguments = item["arguments"]
            yield {"type": "response.function_call_arguments.delta", **at, "delta": arguments}
            yield {
                "type": "response.function_call_arguments.done",
                **at,
                "name": item["name"],
                "arguments": arguments,
            }
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": response(turn)}


def problem(status: int, message: str) -> Json:
    """Give an error as the API words it."""
    kind = "rate_limit_exceeded" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": kind}}


def _completion_head(turn: Turn, kind: str) -> Json:
    return {"id": f"chatcmpl-{turn.number}", "object": kind, "created": 1_700_000_000, "model": turn.model}


def _tool_calls(turn: Turn) -> list[Json]:
    return [
        {
            "id": turn.call_id(position),
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
        }
        for position, call in enumerate(turn.tool_calls)
    ]


def _finish_reason(turn: Turn) -> str:
    return "tool_calls" if turn.tool_calls else "stop"


def _completion_usage(turn: Turn) -> Json:
    said = len(words(turn.text))
    return {"prompt_tokens": 1, "completion_tokens": said, "total_tokens": 1 + said}


def _response_head(turn: Turn) -> Json:
    return {
        "id": f"resp_{turn.number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": turn.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
    }


def _output(turn: Turn) -> list[Json]:
    items: list[Json] = []
    if turn.text or not turn.tool_calls:
        part = {"type": "output_text", "text": turn.text, "annotations": [], "logprobs": []}
        items.append(
            {
                "id": f"msg_{turn.number}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    for position, call in enumerate(turn.tool_calls):
        items.append(
            {
                "id": f"fc_{turn.number}_{position}",
                "type": "function_call",
                "status": "completed",
                "call_id": turn.call_id(position),
                "name": call.name,
                "arguments": json.dumps(dict(call.arguments)),
            }
        )
    return items


def _response_usage(turn: Turn) -> Json:
    said = len(words(turn.text))
    return {
        "input_tokens": 1,
        "output_tokens": said,
        "total_tokens": 1 + said,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
