from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import Content, Message

from perdure.agents import marks
from perdure.payloads import codec, store
from perdure.payloads.codec import registry
from perdure.workflow import values


@pytest.fixture
def run() -> values.RunValues:
    return values.RunValues(values.Shelf(codec.Codec(registry.Registry()), store.MemoryPayloadStore()), "s1")


def spoken() -> Message:
    call = Content.from_function_call("c1", "weather", arguments={"city": ["Oslo"]})
    return Message("assistant", [Content.from_text("Hello."), call], additional_properties={"group": {"id": 1}})


def nested() -> Message:
    return Message("tool", [Content.from_function_result("c1", result=[Content.from_text("rain")])])


CHANGES: dict[str, Callable[[Any], Any]] = {
    "text": lambda message: setattr(message.contents[0], "text", "Hello!"),
    "role": lambda message: setattr(message, "role", "user"),
    "id": lambda message: setattr(message, "message_id", "m1"),
    "property": lambda message: message.additional_properties.update(_excluded=True),
    "inner property": lambda message: message.additional_properties["group"].update(id=2),
    "argument": lambda message: message.contents[1].arguments["city"].append("Rome"),
    "content's property": lambda message: message.contents[0].additional_properties.update(seen=1),
    "one more": lambda message: message.contents.append(Content.from_text("Bye.")),
    "one less": lambda message: message.contents.pop(),
    "another order": lambda message: message.contents.reverse(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_message_does_not_hold(run: values.RunValues, change: str) -> None:
    message = spoken()
    mark = marks.of(run, message)
    assert marks.holds(run, mark, message)
    CHANGES[change](message)
    assert not marks.holds(run, mark, message)


@pytest.mark.parametrize("build", [spoken, nested])
def test_an_equal_message_holds_though_it_is_another_object(
    run: values.RunValues, build: Callable[[], Message]
) -> None:
    assert marks.holds(run, marks.of(run, build()), build())


def test_what_lies_deep_in_a_result_is_seen(run: values.RunValues) -> None:
    message = nested()
    mark = marks.of(run, message)
    items: Any = message.contents[0].items
    items[0].text = "sun"
    assert not marks.holds(run, mark, message)
