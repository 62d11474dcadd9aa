"""Framework values come back whole: every attribute is compared, not what ``==`` looks at."""

from __future__ import annotations

import inspect
from typing import Any

import agent_framework as af
import pydantic
import pytest
from agent_framework._workflows import _runner_context

from perdure import errors


class Verdict(pydantic.BaseModel):
    spam: bool
    score: float = 0.0


@pytest.fixture
def trip(Trip: Any) -> Any:
    return Trip(Verdict)


def _contents() -> list[af.Content]:
    call = af.Content.from_function_call("c1", "get_weather", arguments={"city": "Oslo", "days": (1, 2)})
    return [
        af.Content.from_text("hello", annotations=[{"type": "citation", "title": "t", "raw_representation": object()}]),
        call,
        af.Content.from_function_call("c2", "f", arguments='{"a": 1}', additional_properties={"k": [1]}),
        af.Content.from_function_result("c1", result={"deg": 3, "nested": [None, False]}),
        af.Content.from_function_result("c2", result="x", exception="ValueError: the whole reason"),
        af.Content.from_function_approval_request("r1", call),
        af.Content.from_data(b"\x00\x01" * 10, "image/png"),
        af.Content.from_uri("https://example.org/a.png", media_type="image/png"),
        af.Content.from_usage(af.UsageDetails(input_token_count=3, output_token_count=4, total_token_count=7)),
        af.Content.from_error(message="m", error_code="e"),
        af.Content.from_text_reasoning(text="thinking", protected_data="zzz"),
        af.Content.from_hosted_file("file-1"),
    ]


def _message(text: str = "hello") -> af.Message:
    made = af.Message(
        "assistant",
        [text, *_contents()],
        author_name="writer",
        message_id="m-1",
        additional_properties={"a": {"b": 1}, "none": None, "flag": False},
        raw_representation=object(),
    )
    return made


def _response() -> Any:
    made = af.AgentResponse(
        messages=[_message(), _message("two")],
        response_id="r",
        agent_id="agent",
        created_at="2024-01-01T00:00:00Z",
        finish_reason="stop",
        usage_details=af.UsageDetails(input_token_count=1, total_token_count=2),
        value=Verdict(spam=True, score=0.5),
        response_format=Verdict,
        additional_properties={"x": 1},
        raw_representation=object(),
    )
    made._operation_state = "terminal"
    return made


def _without_raw(value: Any) -> Any:
    """Every attribute of every object within, except what is meant to be dropped."""
    if isinstance(value, list | tuple):
        return [type(value), [_without_raw(item) for item in value]]
    if isinstance(value, dict):
        return [type(value), {k: _without_raw(v) for k, v in value.items() if k != "raw_representation"}]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return [type(value), {k: _without_raw(v) for k, v in vars(value).items() if k != "raw_representation"}]
    return [type(value), value]


ANSWER: Any = str | None
SESSION = af.AgentSession(session_id="s", service_session_id={"id": "x"})
SESSION.state = {"memory": {"messages": [_message() for _ in range(20)]}, "verdict": Verdict(spam=False)}

VALUES: list[Any] = [
    *_contents(),
    _message(),
    _response(),
    af.AgentResponse(messages=[af.Message("assistant", ['{"spam": true}'])], response_format=Verdict),
    af.AgentResponseUpdate(contents=_contents(), role="assistant", author_name="a", response_id="r", message_id="m"),
    af.ChatResponse(messages=[_message()], conversation_id="c", model="m", value=Verdict(spam=True)),
    af.ChatResponseUpdate(contents=_contents(), model="m"),
    af.AgentExecutorRequest(messages=[_message()], should_respond=False),
    af.AgentExecutorResponse("e", _response(), full_conversation=[_message() for _ in range(30)]),
    SESSION,
    _runner_context.WorkflowMessage(
        data=_response(),
        source_id="a",
        target_id="b",
        type=_runner_context.MessageType.RESPONSE,
        trace_contexts=[{"traceparent": "00"}],
        original_request_info_event=af.WorkflowEvent.request_info("r", "a", {"q": 1}, ANSWER),
    ),
]


@pytest.mark.parametrize(
    "value", VALUES, ids=lambda value: type(value).__name__ + "-" + str(getattr(value, "type", ""))
)
def test_every_attribute_comes_back(value: Any, trip: Any) -> None:
    assert _without_raw(trip({"in": value})["in"]) == _without_raw(value)
    assert _without_raw(trip(value)) == _without_raw(value)


def test_every_argument_of_a_content_comes_back(trip: Any) -> None:
    for name, parameter in inspect.signature(af.Content.__init__).parameters.items():
        if (
            name in ("self", "type", "raw_representation", "merge_mode", "hosted")
            or parameter.kind is not parameter.KEYWORD_ONLY
        ):
            continue
        content = af.Content("function_call", hosted=True)
        held: Any
        for held in (0, False, True, "", "v", [], {}, {"k": 1}):
            setattr(content, name, held)
            assert _without_raw(trip(content)) == _without_raw(content), (name, held)


def test_raw_representations_are_dropped(trip: Any) -> None:
    back = trip(_message())
    assert back.raw_representation is None
    assert all(item.raw_representation is None for item in back.contents)


def test_a_structured_value_is_parsed_late_as_it_would_have_been(trip: Any) -> None:
    response = af.AgentResponse(messages=[af.Message("assistant", ['{"spam": true}'])], response_format=Verdict)
    back = trip(response)
    assert back.value == Verdict(spam=True)


def test_a_message_decoded_twice_shares_nothing(trip: Any) -> None:
    message = _message()
    first, second = trip([message, message])
    first.contents.clear()
    first.additional_properties["a"]["b"] = 2
    assert second.contents and second.additional_properties["a"]["b"] == 1


async def test_the_state_of_an_agent_executor_comes_back(trip: Any) -> None:
    class Client(af.BaseChatClient):
        def _inner_get_response(self, **_: Any) -> Any:
            raise AssertionError("not called")

    executor = af.AgentExecutor(af.Agent(Client(), name="a"), id="a")
    executor._cache = [_message()]
    executor._full_conversation = [_message() for _ in range(10)]
    request = _contents()[5]
    executor._pending_agent_requests = {"r1": request}
    executor._pending_request_order = ["r1"]
    executor._pending_responses_to_agent = [request.to_function_approval_response(approved=True)]
    state = await executor.on_checkpoint_save()
    back = trip(state)
    assert _without_raw(back) == _without_raw(state)
    other = af.AgentExecutor(af.Agent(Client(), name="a"), id="a")
    await other.on_checkpoint_restore(back)
    assert _without_raw(other._full_conversation) == _without_raw(executor._full_conversation)
    with pytest.raises(errors.CodecError, match=r"does things and is no data"):
        trip.encode({"client": Client()})
