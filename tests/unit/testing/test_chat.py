from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic
import pytest
from agent_framework import Content, Message, UsageDetails

from perdure import testing
from perdure.testing import chat


class Verdict(pydantic.BaseModel):
    good: bool


async def test_answers_come_in_order_and_requests_are_kept() -> None:
    client = testing.ScriptedChatClient(["one", Message("assistant", ["two"])])
    agent = client.as_agent(instructions="Be brief.")
    assert (await agent.run("first")).text == "one"
    assert client.remaining == 1
    assert (await agent.run("second")).text == "two"
    assert [request.messages[-1].text for request in client.requests] == ["first", "second"]
    assert client.requests[0].options["instructions"] == "Be brief."


async def test_a_call_too_many_is_an_error_that_says_so() -> None:
    client = testing.ScriptedChatClient(["one"])
    await client.get_response([Message("user", ["a"])])
    with pytest.raises(testing.ScriptExhausted, match="called 2 times and its script has 1 answers"):
        await client.get_response([Message("user", ["b"])])


async def test_an_exception_in_the_script_is_raised() -> None:
    client = testing.ScriptedChatClient([ConnectionError("gone")])
    with pytest.raises(ConnectionError, match="gone"):
        await client.as_agent().run("hello")


async def test_tool_calls_are_invoked_with_ids_that_repeat() -> None:
    asked: list[str] = []

    def weather(city: str) -> str:
        """Say the weather."""
        asked.append(city)
        return f"sun in {city}"

    client = testing.ScriptedChatClient(
        [[testing.tool_call("weather", {"city": "Bonn"}), testing.tool_call("weather", {"city": "Kiel"})], "Sun."]
    )
    answer = await client.as_agent(tools=[weather]).run("How is the weather?")
    assert answer.text == "Sun."
    assert sorted(asked) == ["Bonn", "Kiel"]
    results = [item for message in client.requests[1].messages for item in message.contents if item.call_id]
    assert {item.call_id for item in results} == {"call-1-1", "call-1-2"}


async def test_a_model_is_answered_as_the_structured_value() -> None:
    client = testing.ScriptedChatClient([Verdict(good=True), '{"good": false}'])
    agent = client.as_agent(default_options={"response_format": Verdict})
    assert (await agent.run("Well?")).value == Verdict(good=True)
    assert (await agent.run("Well?")).value == Verdict(good=False)


async def test_a_stream_is_cut_and_put_together_again() -> None:
    client = testing.ScriptedChatClient(
        ["one two three"], usage=UsageDetails(input_token_count=1, output_token_count=3, total_token_count=4)
    )
    stream = client.as_agent().run("count", stream=True)
    pieces = [update.text async for update in stream]
    final = await stream.get_final_response()
    assert pieces[:3] == ["one ", "two ", "three"]
    assert final.text == "one two three"
    assert len(final.messages) == 1
    assert final.usage_details is not None and final.usage_details.get("total_token_count") == 4
    assert client.requests[0].stream


async def test_a_stream_carries_tool_calls() -> None:
    client = testing.ScriptedChatClient([testing.tool_call("now"), "noon"])

    def now() -> str:
        """Say the time."""
        return "12:00"

    final = await client.as_agent(tools=[now]).run("time?", stream=True).get_final_response()
    assert final.text == "noon"
    assert len(client.requests) == 2


async def test_a_function_answers_and_may_wait() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def answer(messages: Sequence[Message], options: Mapping[str, Any]) -> chat.Answer:
        asked.set()
        await release.wait()
        return f"You said {messages[-1].text}."

    client = testing.ScriptedChatClient(answer)
    task = asyncio.ensure_future(client.as_agent().run("hello"))
    await asked.wait()
    assert not task.done()
    release.set()
    assert (await task).text == "You said hello."


async def test_concurrent_calls_get_an_answer_each() -> None:
    client = testing.ScriptedChatClient([str(number) for number in range(50)])
    answers = await asyncio.gather(*(client.get_response([Message("user", ["x"])]) for _ in range(50)))
    assert {answer.text for answer in answers} == {str(number) for number in range(50)}


def test_a_copy_shares_the_script() -> None:
    client = testing.ScriptedChatClient(["one"])
    assert copy.deepcopy(client) is client


async def test_contents_are_answered_as_they_are() -> None:
    client = testing.ScriptedChatClient([Content.from_uri("https://example.org/a.png", media_type="image/png")])
    (message,) = (await client.get_response([Message("user", ["a picture"])])).messages
    assert message.contents[0].uri == "https://example.org/a.png"
