from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from agent_framework import Content, tool
from tests.agents import world

from perdure.testing import ModelServer, ScriptedChatClient, tool_call

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 3000).decode()

called: list[str] = []


@tool(approval_mode="never_require")
def weather(city: str) -> str:
    """Say the weather."""
    called.append(city)
    return f"It rains in {city}."


@pytest.fixture(autouse=True)
def fresh() -> None:
    called.clear()


async def test_two_turns_with_the_openai_client_over_http() -> None:
    with ModelServer(["Hello, Ann.", "You are Ann."]) as server:
        async with world.serve_over(server, instructions="Be kind.") as served:
            await served.say("I am Ann.", session_id="s1")
            await served.crash()
            answer = await served.say("Who am I?", session_id="s1")

    assert answer.json()["response"] == "You are Ann."
    sent = [(message["role"], message["content"]) for message in server.calls[1].body["messages"]]
    assert [role for role, _ in sent] == ["system", "user", "assistant", "user"]
    assert "Hello, Ann." in str(sent[2][1])


async def test_response_format_reaches_the_model_as_a_json_schema() -> None:
    said = json.dumps({"city": "Oslo", "degrees": 4})
    with ModelServer([said]) as server:
        async with world.serve_over(server) as served:
            answer = await served.say("How is Oslo?", response_format=SCHEMA)

    asked = server.calls[0].body["response_format"]
    assert asked["type"] == "json_schema" and asked["json_schema"]["schema"]["properties"] == SCHEMA["properties"]
    assert json.loads(answer.json()["response"]) == {"city": "Oslo", "degrees": 4}


async def test_response_format_is_of_one_turn_only() -> None:
    with ModelServer(['{"city": "Oslo", "degrees": 4}', "Fine."]) as server:
        async with world.serve_over(server) as served:
            await served.say("How is Oslo?", response_format=SCHEMA, session_id="s1")
            await served.say("And you?", session_id="s1")

    assert "response_format" not in server.calls[1].body


@pytest.mark.parametrize("said", ["It is fine there.", ""])
async def test_an_answer_that_is_not_structured_as_asked_is_an_error(said: str) -> None:
    async with world.serve(world.app_of(ScriptedChatClient([said]))) as served:
        answer = await served.say("How is Oslo?", response_format=SCHEMA, session_id="s1")

    assert answer.status_code == 500
    assert "structured output" in answer.json()["error"]
    assert answer.json()["response"] == (said or None)


@pytest.mark.parametrize(
    "given",
    [
        "json",
        [],
        {},
        {"type": "no such"},
        {"type": 7},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": 5}},
        {"type": "object", "required": "a"},
        {"type": "array", "items": 7},
        {"anyOf": [7]},
        {"anyOf": {}},
        {"enum": "a"},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "no such"}}}},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": {"type": "no such"}}},
        {"__response_schema_type__": "pydantic_model", "module": "os", "qualname": "system", "type": "x"},
    ],
)
async def test_a_malformed_response_format_gets_400_and_costs_no_model_call(given: Any) -> None:
    client = ScriptedChatClient(["never"])
    async with world.serve(world.app_of(client)) as served:
        answer = await served.say("How is Oslo?", response_format=given)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"].startswith("/response_format")
    assert client.requests == []


async def test_a_response_format_with_everything_that_schemas_may_have_reaches_the_model() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/b"}]}, "c": True},
        "additionalProperties": False,
        "$defs": {"b": {"type": "array", "items": {"enum": [1, None]}, "prefixItems": [{}], "not": {"const": 3}}},
    }
    client = ScriptedChatClient(['{"a": null, "c": 1}'])
    async with world.serve(world.app_of(client)) as served:
        answer = await served.say("How is Oslo?", response_format=schema)

    assert answer.status_code == 200 and client.requests[0].options["response_format"] == schema


async def test_tools_are_called_unless_told_otherwise() -> None:
    client = ScriptedChatClient([tool_call("weather", {"city": "Oslo"}), "It rains."])
    async with world.serve(world.app_of(client, tools=[weather])) as served:
        answer = await served.say("How is Oslo?")

    assert called == ["Oslo"]
    assert answer.json()["response"] == "It rains."


async def test_enable_tool_calls_false_offers_the_model_no_tool() -> None:
    with ModelServer(["I cannot look.", "I can."]) as server:
        async with world.serve_over(server, tools=[weather]) as served:
            await served.say("How is Oslo?", enable_tool_calls=False, session_id="s1")
            await served.say("And now?", session_id="s1")

    assert not server.calls[0].body.get("tools")
    assert [offered["function"]["name"] for offered in server.calls[1].body["tools"]] == ["weather"]


async def test_enable_tool_calls_false_runs_no_tool_even_if_the_model_asks_for_one() -> None:
    client = ScriptedChatClient([tool_call("weather", {"city": "Oslo"}), "I see."])
    async with world.serve(world.app_of(client, tools=[weather])) as served:
        await served.say("How is Oslo?", enable_tool_calls=False)

    assert called == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "data", "uri": f"data:image/png;base64,{PIXEL}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
        {"type": "uri", "uri": "https://example.org/pixel.png", "media_type": "image/png"},
        {"type": "image_url", "image_url": {"url": "https://example.org/pixel.png"}},
    ],
)
async def test_images_reach_the_model_and_stay_in_the_conversation(part: dict[str, Any]) -> None:
    with ModelServer(["A pixel.", "Black."]) as server:
        async with world.serve_over(server) as served:
            first = await served.say([{"type": "text", "text": "What is it?"}, part], session_id="s1")
            await served.crash()
            await served.say("Which colour?", session_id="s1")

    assert first.json()["response"] == "A pixel." and first.json()["message"] == "What is it?"
    for call in server.calls:
        contents = [message["content"] for message in call.body["messages"]]
        pieces = [piece for content in contents if isinstance(content, list) for piece in content]
        (image,) = [piece for piece in pieces if piece["type"] == "image_url"]
        assert image["image_url"]["url"].startswith(("data:image/png;base64,", "https://example.org/"))


async def test_files_reach_the_model() -> None:
    data = base64.b64encode(b"%PDF-1.4 hello").decode()
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}}
    client = ScriptedChatClient(["Read."])
    async with world.serve(world.app_of(client)) as served:
        await served.say(["Read it.", file, {"type": "file", "file": {"file_id": "file-1"}}])

    _, sent, kept = client.requests[0].messages[0].contents
    assert (sent.type, sent.media_type, sent.uri) == ("data", "application/pdf", f"data:application/pdf;base64,{data}")
    assert (kept.type, kept.file_id) == ("hosted_file", "file-1")


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        (5, "/message/0"),
        ({"type": "AgentResponse"}, "/message/0"),
        ({"type": ["text"]}, "/message/0"),
        ({"type": "text"}, "/message/0/text"),
        ({"type": "data", "uri": "data:image/png;base64,!!!"}, "/message/0/uri"),
        ({"type": "data", "uri": "data:image/png;base64,"}, "/message/0/uri"),
        ({"type": "data", "uri": "data:,hello"}, "/message/0/uri"),
        ({"type": "uri", "uri": "file:///etc/passwd", "media_type": "text/plain"}, "/message/0/uri"),
        ({"type": "uri", "uri": "https://example.org/x"}, "/message/0/uri"),
        ({"type": "function_call", "name": "weather", "arguments": {}}, "/message/0"),
    ],
)
async def test_a_part_that_is_none_gets_400_with_its_place(part: Any, pointer: str) -> None:
    async with world.serve(world.app_of(ScriptedChatClient([]))) as served:
        answer = await served.say([part])

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_message_of_many_megabytes_travels_whole() -> None:
    image = base64.b64encode(bytes(range(256)) * 12_000).decode()
    client = ScriptedChatClient(["Seen.", "Still seen."])
    async with world.serve(world.app_of(client)) as served:
        part = {"type": "data", "uri": f"data:image/png;base64,{image}"}
        assert (await served.say(["Look.", part], session_id="s1")).status_code == 200
        await served.crash()
        await served.say("Again.", session_id="s1")

    sent = client.requests[1].messages[0].contents[1]
    assert isinstance(sent, Content) and sent.uri == part["uri"]


async def test_a_body_over_the_limit_gets_413(tmp_path: Any) -> None:
    from perdure.hosts.local import settings

    told = settings.Settings(tmp_path, tmp_path / "hub", body_limit=1000)
    async with world.serve(world.app_of(ScriptedChatClient([])), settings=told) as served:
        answer = await served.say("x" * 2000)

    assert answer.status_code == 413


@pytest.mark.parametrize(("given", "role"), [("system", "system"), ("User ", "user"), (None, "user"), ("", "user")])
async def test_role_is_whose_words_they_are(given: Any, role: str) -> None:
    client = ScriptedChatClient(["Yes."])
    async with world.serve(world.app_of(client)) as served:
        await served.say("Hi", role=given)

    assert world.told(client) == [(role, "Hi")]


@pytest.mark.parametrize("role", ["wizard", "tool", 5])
async def test_an_unknown_role_gets_400(role: Any) -> None:
    async with world.serve(world.app_of(ScriptedChatClient([]))) as served:
        answer = await served.say("Hi", role=role)

    assert answer.status_code == 400 and "/role" in answer.json()["error"]


async def test_options_reach_the_model() -> None:
    with ModelServer(["Yes."]) as server:
        async with world.serve_over(server) as served:
            await served.say("Hi", options={"temperature": 0.25, "max_tokens": 7})

    assert server.calls[0].body["temperature"] == 0.25
