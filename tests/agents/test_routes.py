from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from agent_framework import Agent
from tests.agents import world

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient


def echo() -> AgentFunctionApp:
    return world.app_of(ScriptedChatClient(lambda messages, options: f"heard {messages[-1].text}"))


async def test_a_json_request_has_a_json_answer_with_every_member() -> None:
    async with world.serve(echo()) as served:
        answer = await served.say("Hi", session_id="s1", correlation_id="c1")

    assert answer.status_code == 200
    assert answer.json() == {
        "response": "heard Hi",
        "message": "Hi",
        "session_id": "s1",
        "thread_id": "s1",
        "status": "success",
        "correlation_id": "c1",
        "message_count": 2,
    }
    assert answer.headers["x-ms-session-id"] == answer.headers["x-ms-thread-id"] == "s1"


async def test_asked_in_text_it_answers_in_text_with_the_session_in_a_header() -> None:
    async with world.serve(echo()) as served:
        answer = await served.call("POST", "agents/helper/run", content=" Hi\n", headers={"content-type": "text/plain"})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "heard Hi"
    assert answer.headers["x-ms-session-id"] == answer.headers["x-ms-thread-id"] != ""


async def test_asked_in_text_for_json_it_answers_in_json() -> None:
    headers = {"content-type": "text/plain", "accept": "application/json"}
    async with world.serve(echo()) as served:
        answer = await served.call("POST", "agents/helper/run", content="Hi", headers=headers)

    assert answer.json()["response"] == "heard Hi"


async def test_without_a_session_each_request_has_one_of_its_own() -> None:
    async with world.serve(echo()) as served:
        first, second = await served.say("Hi"), await served.say("Hi")

    assert first.json()["session_id"] != second.json()["session_id"]
    assert second.json()["message_count"] == 2


@pytest.mark.parametrize("place", ["body", "query", "both"])
@pytest.mark.parametrize("name", ["session_id", "thread_id"])
async def test_the_session_is_named_in_the_body_or_the_query_by_either_name(place: str, name: str) -> None:
    body: dict[str, Any] = {"message": "Hi"}
    params = {}
    if place != "query":
        body[name] = "s1"
    if place != "body":
        params[name] = "s1"
    async with world.serve(echo()) as served:
        answer = await served.call("POST", "agents/helper/run", json=body, params=params)

    assert answer.json()["session_id"] == "s1"


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"session_id": "a", "thread_id": "b"}, {}),
        ({"session_id": "a"}, {"session_id": "b"}),
        ({}, {"session_id": "a", "thread_id": "b"}),
    ],
)
async def test_names_of_the_session_that_disagree_get_400(body: dict[str, str], query: dict[str, str]) -> None:
    async with world.serve(echo()) as served:
        answer = await served.call("POST", "agents/helper/run", json={"message": "Hi", **body}, params=query)

    assert answer.status_code == 400
    assert "disagree" in answer.json()["error"]


async def test_a_blank_session_id_is_none() -> None:
    async with world.serve(echo()) as served:
        answer = await served.say("Hi", session_id="  ", thread_id="s1")

    assert answer.json()["session_id"] == "s1"


@pytest.mark.parametrize("session_id", ["Zürich", "会话 🎉", "50%"])
async def test_a_session_id_of_any_script_is_a_session_id(session_id: str) -> None:
    async with world.serve(echo()) as served:
        first = await served.say("Hi", session_id=session_id)
        second = await served.say("Hi again", session_id=session_id)

    assert (first.status_code, second.json()["message_count"]) == (200, 4)
    assert second.json()["session_id"] == session_id
    assert unquote(second.headers["x-ms-session-id"]) == session_id


@pytest.mark.parametrize("session_id", ["a/b", "a\\b", "a#b", "a?b", "a\nb", "x" * 256, ".", ".."])
async def test_a_session_id_that_cannot_be_addressed_gets_400(session_id: str) -> None:
    async with world.serve(echo()) as served:
        answer = await served.say("Hi", session_id=session_id)

    assert answer.status_code == 400
    assert "session_id" in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[1]", "must be an object"),
        (b'"hi"', "must be an object"),
        (b"{}", "Message is required"),
        (b'{"message": ""}', "Message is required"),
        (b'{"message": "  "}', "Message is required"),
        (b'{"message": null}', "Message is required"),
        (b'{"message": {"text": "hi"}}', "/message"),
        (b'{"message": "\xff"}', "not valid JSON"),
        (b'{"message": "hi", "correlation_id": 5}', "/correlation_id"),
        (b'{"message": "hi", "enable_tool_calls": "perhaps"}', "/enable_tool_calls"),
        (b'{"message": "hi", "options": []}', "/options"),
        (b'{"message": "hi", "options": {"response_format": "x"}}', "/options/response_format"),
        (b'{"message": "hi", "session_id": ["a"]}', "/session_id"),
        (b'{"message": "hi", "thread_id": {"a": 1}}', "/thread_id"),
        (b'{"message": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
async def test_what_is_no_request_gets_400_with_the_reason(content: bytes, said: str) -> None:
    async with world.serve(echo()) as served:
        answer = await served.call(
            "POST", "agents/helper/run", content=content, headers={"content-type": "application/json"}
        )

    assert answer.status_code == 400
    assert said in answer.json()["error"]


async def test_an_empty_text_gets_400_in_text() -> None:
    async with world.serve(echo()) as served:
        answer = await served.call("POST", "agents/helper/run", headers={"content-type": "text/plain"})

    assert answer.status_code == 400
    assert answer.text.startswith("Message is required")


@pytest.mark.parametrize(
    ("headers", "query", "body", "status"),
    [
        ({}, {}, {}, 200),
        ({}, {}, {"wait_for_response": False}, 202),
        ({}, {"wait_for_response": "false"}, {}, 202),
        ({"x-ms-wait-for-response": "no"}, {}, {}, 202),
        ({"x-ms-wait-for-response": "true"}, {"wait_for_response": "false"}, {"wait_for_response": False}, 200),
        ({}, {"wait_for_response": "true"}, {"wait_for_response": False}, 200),
        ({"x-ms-wait-for-response": "whatever"}, {}, {"wait_for_response": False}, 202),
        ({"Prefer": "wait=5"}, {}, {"wait_for_response": False}, 200),
        ({"Prefer": "wait=0"}, {}, {}, 202),
    ],
)
async def test_the_header_the_query_and_the_body_say_in_this_order_whether_to_wait(
    headers: dict[str, str], query: dict[str, str], body: dict[str, Any], status: int
) -> None:
    async with world.serve(echo()) as served:
        answer = await served.call(
            "POST", "agents/helper/run", json={"message": "Hi", **body}, params=query, headers=headers
        )

    assert answer.status_code == status
    assert answer.headers.get("preference-applied") == headers.get("Prefer")
    if status == 202:
        assert answer.json()["status"] == "accepted" and answer.json()["response"] == "Agent request accepted"
        assert "message_count" not in answer.json()


@pytest.mark.parametrize("name", ["helper", "Helper", "HELPER"])
async def test_an_agent_is_found_in_any_case(name: str) -> None:
    async with world.serve(echo()) as served:
        await served.say("Hi", agent="helper", session_id="s1")
        answer = await served.say("Hi", agent=name, session_id="s1")

    assert answer.json()["message_count"] == 4


async def test_an_unknown_agent_gets_404_that_names_those_there_are() -> None:
    async with world.serve(echo()) as served:
        answers = [
            await served.say("Hi", agent="nobody"),
            await served.call("GET", "agents/nobody/sessions"),
            await served.call("GET", "agents/nobody/sessions/s1"),
        ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert "helper" in answers[0].json()["error"]


async def test_health_lists_the_agents() -> None:
    app = AgentFunctionApp(enable_mcp_tool_trigger=True)
    app.add_agent(Agent(client=ScriptedChatClient([]), name="one"))
    app.add_agent(Agent(client=ScriptedChatClient([]), name="two"), None, False, False)
    async with world.serve(app) as served:
        answer = await served.call("GET", "health")

    assert answer.json() == {
        "status": "healthy",
        "agents": [
            {"name": "one", "type": "Agent", "http_endpoint_enabled": True, "mcp_tool_enabled": True},
            {"name": "two", "type": "Agent", "http_endpoint_enabled": False, "mcp_tool_enabled": False},
        ],
        "agent_count": 2,
    }


async def test_an_app_without_a_health_check_has_no_such_route() -> None:
    async with world.serve(AgentFunctionApp(enable_health_check=False)) as served:
        health = await served.call("GET", "health")
        described = (await served.call("GET", "openapi.json")).json()

    assert health.status_code == 404
    assert "/health" not in described["paths"]


async def test_an_agent_without_an_endpoint_has_no_route() -> None:
    app = AgentFunctionApp(enable_http_endpoints=False)
    app.add_agent(Agent(client=ScriptedChatClient(["Hi"]), name="open"), enable_http_endpoint=True)
    app.add_agent(Agent(client=ScriptedChatClient([]), name="closed"))
    async with world.serve(app) as served:
        open_, closed = await served.say("Hi", agent="open"), await served.say("Hi", agent="closed")
        listed = (await served.call("GET", "agents")).json()["agents"]

    assert (open_.status_code, closed.status_code) == (200, 404)
    assert [agent["name"] for agent in listed] == ["open"]


async def test_a_session_is_no_run() -> None:
    async with world.serve(echo()) as served:
        await served.say("Hi", session_id="s1")
        cancelled = await served.call("POST", "runs/@dafx-helper@s1/cancel")
        deleted = await served.call("DELETE", "runs/@dafx-helper@s1")
        listed = [
            (await served.call("GET", "runs", params=query)).json()["runs"] for query in ({}, {"workflow": "helper"})
        ]
        again = await served.say("Hi", session_id="s1")

    assert (cancelled.status_code, deleted.status_code) == (404, 404)
    assert listed == [[], []]
    assert again.json()["message_count"] == 4
