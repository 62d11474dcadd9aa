"""Requests to the world outside: how they look from there, and how their answers are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from agent_framework import Content, Executor

from perdure import errors
from perdure.workflow import graph, run_state, start_input

APPROVAL_REQUEST = "function_approval_request"


class AnswerTypes:
    """The types that the requests of a workflow's executors ask for, by name.

    Args:
        executors: The workflow's executors.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._known: dict[tuple[str, str], start_input.StartInput] = {}
        for executor_id, executor in executors.items():
            for _, response in graph.response_types(executor):
                self._known[executor_id, type_name(response)] = reader(response)

    def find(self, request: run_state.Request) -> start_input.StartInput:
        """Give what reads the answers to a request; any JSON where its type is not known any more."""
        found = self._known.get((request.executor, request.response_type))
        return found if found is not None else _BY_NAME.get(request.response_type, _ANYTHING)

    def read(self, request: run_state.Request, asked: Callable[[], Any], body: bytes, content_type: str) -> Any:
        """Read an answer.

        Args:
            request: The request.
            asked: Gives what was asked.
            body: The answer as it was sent.
            content_type: Its media type.

        Raises:
            EmptyInput: If there is none.
            MalformedInput: If it is not JSON.
            InvalidInput: If it does not fit what was asked for.
        """
        types = self.find(request)
        if not body.strip():
            raise errors.EmptyInput("The request has no body.", "Send the answer, as JSON or as plain text.")
        if start_input.media_type(content_type).startswith("text/"):
            return types.convert(start_input.text(body))
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.MalformedInput([("", f"it is not valid JSON: {error}")]) from None
        if types.only_text and not isinstance(value, str):
            return start_input.text(body)
        if request.response_type == Content.__name__:
            approval = _approval(asked(), value)
            if approval is not None:
                return approval
        return types.convert(value)


def reader(kind: Any) -> start_input.StartInput:
    """Make what reads values of a type."""
    return start_input.StartInput((kind,), lambda value: graph.is_instance_of(value, kind))


def type_name(kind: Any) -> str:
    """Name a type for people and for looking it up again."""
    plain = isinstance(kind, type) and not getattr(kind, "__args__", None)
    return kind.__qualname__ if plain else str(kind)


def _approval(asked: Any, value: Any) -> Content | None:
    """Read ``true``, ``false`` or ``{"approved": ...}`` as the answer to a tool-approval request."""
    if not isinstance(asked, Content) or asked.type != APPROVAL_REQUEST:
        return None
    approved = value.get("approved") if isinstance(value, dict) and "type" not in value else value
    if isinstance(approved, bool):
        return asked.to_function_approval_response(approved=approved)
    if isinstance(value, dict) and "type" in value:
        return None
    raise errors.InvalidInput([("/approved", "an approval is answered with true or false")])


_BY_NAME = {kind.__name__: reader(kind) for kind in (str, bool, int, float, dict, list)}
_ANYTHING = reader(object)
