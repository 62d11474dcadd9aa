"""Calls of agents by orchestrations, as the plain JSON that they travel as."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
from agent_framework import AgentResponse, Content, Message

from perdure import CodecError, PerdureError
from perdure.agents import calls


class Verdict(pydantic.BaseModel):
    good: bool


def nowhere(name: str) -> type:
    raise CodecError(f"no {name}")


def travelled(messages: calls.Messages, resolve: Any = nowhere, **options: Any) -> calls.Call:
    """Write a call and read it back, as it comes out of a history."""
    written = calls.write(messages, calls.options_of(options), "c1", "o1")
    return calls.read(json.loads(json.dumps(written)), "other", resolve)


def test_a_text_is_what_the_user_says() -> None:
    call = travelled("Hi")

    assert call.correlation_id == "c1" and call.request.text == "Hi"
    assert [(message.role, message.text) for message in call.request.messages] == [("user", "Hi")]


def test_messages_travel_whole() -> None:
    told = [
        Message("user", ["Hi"], author_name="Ann", message_id="m1", additional_properties={"mood": "good"}),
        Message("tool", [Content.from_function_result("c", result="7")]),
        Message("user", [Content.from_uri("https://example.org/x.png", media_type="image/png")]),
    ]

    found = travelled(told).request.messages

    assert [(message.role, message.author_name, message.message_id) for message in found] == [
        (message.role, message.author_name, message.message_id) for message in told
    ]
    assert [content.type for message in found for content in message.contents] == ["text", "function_result", "uri"]
    assert found[0].additional_properties == {"mood": "good"}


def test_options_travel() -> None:
    request = travelled("Hi", enable_tool_calls=False, temperature=0.5).request

    assert (request.tools, request.options) == (False, {"temperature": 0.5})


def test_a_model_travels_by_its_name_or_else_as_its_schema() -> None:
    assert travelled("Hi", lambda name: Verdict, response_format=Verdict).request.response_format is Verdict
    schema = travelled("Hi", response_format=Verdict).request.response_format
    assert schema == Verdict.model_json_schema()
    asked = travelled("Hi", lambda name: str, response_format=Verdict).request.response_format
    assert asked == schema, "a class that is no model is not taken for one"


@pytest.mark.parametrize(
    "messages",
    [None, "", "  ", [], [""], Message("user", []), Message("user", [" "])],
)
def test_an_agent_must_be_told_something(messages: Any) -> None:
    with pytest.raises(ValueError, match="must be told something"):
        travelled(messages)


def test_what_cannot_travel_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match=r"options\['tools'\] cannot travel"):
        travelled("Hi", tools=[print])


@pytest.mark.parametrize(
    "given",
    [None, "", {}, {"messages": 7}, {"messages": [7]}, {"message": "x", "options": 7}, {"message": "x", "role": "x"}],
    ids=repr,
)
def test_what_is_no_call_is_refused(given: Any) -> None:
    with pytest.raises(PerdureError):
        calls.read(given, "c1", nowhere)


def test_a_response_travels_with_its_value() -> None:
    response: AgentResponse[Any] = AgentResponse(
        messages=[Message("assistant", ['{"good": true}'])],
        additional_properties={"mood": "good", "what is no JSON": object()},
    )

    found = calls.response(json.loads(json.dumps(calls.answer(response))), Verdict)

    assert found.value == Verdict(good=True) and found.additional_properties == {"mood": "good"}


@pytest.mark.parametrize("answered", [None, "text", {"status": "error", "error": "x"}], ids=repr)
def test_what_is_no_response_is_an_error_that_says_so(answered: Any) -> None:
    with pytest.raises(ValueError, match="no response of an agent"):
        calls.response(answered, None)
