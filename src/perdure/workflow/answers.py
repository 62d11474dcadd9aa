"""Requests to the world outside: how they look from there, and how their answers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from agent_framework import Content, Executor, Message

from perdure import errors
from perdure.payloads import refs
from perdure.workflow import graph, run_state, start_input

APPROVAL_REQUEST: Final = "function_approval_request"
APPROVAL: Final = "function_approval_response"
CALL: Final = "function_call"
RESULT: Final = "function_result"
COMPUTER_CALL: Final = "computer_tool_call"

_APPROVAL_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]},
    ]
}
_RESULT_SCHEMA: Final[dict[str, Any]] = {"description": "What the tool gives: any JSON value."}


class AnswerTypes:
    """The types that the requests of a workflow's executors ask for, by name.

    Args:
        executors: The workflow's executors.
        decode: Gives back a type that a request tells itself.
    """

    def __init__(self, executors: Mapping[str, Executor], decode: Callable[[refs.Ref], Any] | None = None) -> None:
        self._decode = decode
        self._told: dict[bytes, tuple[start_input.StartInput, str]] = {}
        self._known: dict[tuple[str, str], start_input.StartInput] = {}
        self._full_names: dict[tuple[str, str], str] = {}
        for executor_id, executor in executors.items():
            for kind in executor.workflow_output_types:
                self._full_names.setdefault((executor_id, type_name(kind)), full_name(kind))
            for asking in (executor, *(found for _, found in graph.nested(executor))):
                for asked, response in graph.response_types(asking):
                    # What is inside asks in the name of the executor that the run knows.
                    self._known.setdefault((executor_id, type_name(response)), reader(response))
                    for kind in (asked, response):
                        self._full_names.setdefault((executor_id, type_name(kind)), full_name(kind))

    def find(self, request: run_state.Request) -> start_input.StartInput:
        """Give what reads the answers to a request; any JSON where its type is not known any more."""
        found = self._known.get((request.executor, request.response_type))
        if found is None and request.answer is not None:
            found = self._of_told(request.answer)[0]
        return found if found is not None else _BY_NAME.get(request.response_type, _ANYTHING)

    def names(self, request: run_state.Request) -> tuple[str, str]:
        """Name the types of a request and its answer for clients, as ``module:class`` where they are known."""
        kinds = (request.request_type, request.response_type)
        asked, answered = (self._full_names.get((request.executor, kind), kind) for kind in kinds)
        told = "" if request.answer is None else self._of_told(request.answer)[1]
        return asked, told or answered

    def declares(self, executor: str, kind: Any) -> bool:
        """Say whether the answers of a type can be read without being told more than its name."""
        return (executor, type_name(kind)) in self._known or _BY_NAME.get(type_name(kind)) is not None

    def _of_told(self, told: refs.Ref) -> tuple[start_input.StartInput | None, str]:
        """Give what reads answers of a type that a request tells itself, and the type's name for clients."""
        if told.inline is None or self._decode is None:
            return None, ""
        found = self._told.get(told.inline)
        if found is None:
            try:
                kind = self._decode(told)
            except errors.CodecError:
                # The class is gone: any JSON is taken, as for a handler that is.
                return None, ""
            found = self._told[told.inline] = reader(kind), full_name(kind)
        return found

    def schema(self, request: run_state.Request, asked: Any) -> dict[str, Any]:
        """Give a JSON schema of the answer to a request.

        Args:
            request: The request.
            asked: What it asks, as plain JSON.
        """
        if request.response_type == Content.__name__ and isinstance(asked, dict):
            if asked.get("type") == APPROVAL_REQUEST:
                return _APPROVAL_SCHEMA
            if asked.get("type") == CALL:
                return _RESULT_SCHEMA
        return self.find(request).schema()

    def take(self, request: run_state.Request, asked: Any, value: Any) -> Any:
        """Take a live value as the answer to a request.

        Raises:
            InvalidInput: If it does not fit what was asked for.
        """
        if request.response_type == Content.__name__ and not isinstance(value, Content):
            value = _content(asked, value)
        return self.find(request).check(value)

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
            return _read(types, start_input.text(body, content_type))
        try:
            value = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.MalformedInput([("", f"it is not valid JSON: {error}")]) from None
        if types.only_text and not isinstance(value, str):
            return start_input.text(body, content_type)
        if request.response_type == Content.__name__:
            answered = _content(asked(), value)
            if answered is not None:
                return answered
        return _read(types, value)


def withdrawn(
    requests: Iterable[run_state.Request], request_id: str, decode: Callable[[refs.Ref], Any]
) -> tuple[str, ...]:
    """Give the ids of the requests that go when one is withdrawn; empty if that one is not open.

    As in process, with a call of the computer all that the same executor asks: its answers stand together.
    """
    requests = list(requests)
    found = next((request for request in requests if request.id == request_id), None)
    if found is None:
        return ()
    asked = decode(found.data) if found.request_type == Content.__name__ else None
    if isinstance(asked, Content) and asked.type == COMPUTER_CALL:
        return tuple(request.id for request in requests if request.executor == found.executor)
    return (request_id,)


def taken(kind: Any, asked: Any, value: Any) -> Any:
    """Take a value, live or as it came out of JSON, as the answer to what was asked.

    Raises:
        InvalidInput: If it does not fit the type.
    """
    if kind is Content and not isinstance(value, Content):
        value = _content(asked, value) or value
    return value if graph.is_instance_of(value, kind) else reader(kind).convert(value)


def reader(kind: Any) -> start_input.StartInput:
    """Make what reads values of a type."""
    return start_input.StartInput((kind,), lambda value: graph.is_instance_of(value, kind))


def type_name(kind: Any) -> str:
    """Name a type for people and for looking it up again."""
    plain = isinstance(kind, type) and not getattr(kind, "__args__", None)
    return kind.__qualname__ if plain else str(kind)


def full_name(kind: Any) -> str:
    """Name a type for clients: a class as ``module:class``."""
    return f"{kind.__module__}:{type_name(kind)}" if isinstance(kind, type) else type_name(kind)


def _read(types: start_input.StartInput, value: Any) -> Any:
    """Read plain JSON; where messages are asked for, a text is what the user says."""
    if isinstance(value, str) and types.accepted in _MESSAGES:
        said = Message("user", [value])
        return types.check(said if types.accepted == (Message,) else [said])
    return types.convert(value)


def _content(asked: Any, value: Any) -> Content | None:
    """Read the answer to what an agent asks; None if it is to be read as a content of any kind."""
    if not isinstance(asked, Content):
        return None
    if asked.type == APPROVAL_REQUEST:
        return _approval(asked, value)
    if asked.type == CALL and not (isinstance(value, dict) and value.get("type") == RESULT):
        return Content.from_function_result(asked.call_id or "", result=value)
    return None


def _approval(asked: Content, value: Any) -> Content:
    """Read ``true``, ``false``, ``{"approved": ...}`` or the framework's own form, whose call is not looked at.

    What runs is the call that was shown to be approved, whatever the answer says that it was.
    """
    approved = value
    if isinstance(value, dict):
        approved = value.get("approved")
        if value.get("type", APPROVAL) != APPROVAL:
            raise errors.InvalidInput([("/type", f"a tool approval is answered with a {APPROVAL}, true or false")])
        if value.get("id", asked.id) != asked.id:
            raise errors.InvalidInput([("/id", f"it answers another request; this one is {asked.id}")])
    if not isinstance(approved, bool):
        raise errors.InvalidInput([("/approved", "an approval is answered with true or false")])
    return asked.to_function_approval_response(approved=approved)


_MESSAGES: Final[tuple[tuple[Any], ...]] = ((Message,), (list[Message],))
_BY_NAME = {kind.__name__: reader(kind) for kind in (str, bool, int, float, dict, list)}
_ANYTHING = reader(object)
