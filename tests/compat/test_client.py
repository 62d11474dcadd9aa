"""Clients written for agent-framework-azurefunctions, as its documents and samples write them, against this host."""

from __future__ import annotations

import contextlib
import pathlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from agent_framework import Agent, Executor, WorkflowBuilder, WorkflowContext, handler, response_handler
from tests import polling

from perdure import AgentFunctionApp, WorkflowHitlContext
from perdure.testing import LocalHost, ScriptedChatClient

SESSION_HEADER = "x-ms-session-id"
WAIT_HEADER = "x-ms-wait-for-response"
FINAL = ("Completed", "Failed", "Terminated")


@dataclass
class Article:
    title: str
    body: str = ""


@dataclass
class Question:
    article: Article
    prompt: str


@dataclass
class Verdict:
    approved: bool
    reviewer_notes: str = ""


class Review(Executor):
    @handler
    async def take(self, article: Article, ctx: WorkflowContext[str, str]) -> None:
        if not article.title:
            raise ValueError("a title is needed")
        if not article.body:
            await ctx.yield_output(f"{article.title}: nothing to review")
            return
        await ctx.request_info(Question(article, "Publish it?"), Verdict)
        request_id = await WorkflowHitlContext.pending_request_id(ctx)
        assert request_id is not None
        address = WorkflowHitlContext.from_context(ctx)
        assert address is not None
        ctx.set_state("mailed", address.build_respond_url(request_id))

    @response_handler
    async def decided(self, asked: Question, verdict: Verdict, ctx: WorkflowContext[str, str]) -> None:
        said = "published" if verdict.approved else "rejected"
        await ctx.yield_output(f"{asked.article.title}: {said}, {verdict.reviewer_notes}")


def build() -> AgentFunctionApp:
    joker = Agent(client=ScriptedChatClient(lambda messages, options: f"heard {messages[-1].text}"), name="Joker")
    analyst: Any = Agent(
        client=ScriptedChatClient(lambda messages, options: f"saw {messages[-1].text}"), name="analyst"
    )
    return AgentFunctionApp(
        agents=[joker],
        workflows=[
            WorkflowBuilder(start_executor=Review(id="review"), name="content_moderation").build(),
            WorkflowBuilder(start_executor=analyst, name="analysis").build(),
        ],
        app_folder=pathlib.Path(__file__).parents[1],
    )


class Client:
    """What their samples' helper does: JSON or text out, and asking again until something is there."""

    def __init__(self, base_url: str, http: httpx.AsyncClient) -> None:
        self.base_url = base_url
        self._http = http

    async def get(self, url: str) -> httpx.Response:
        return await self._http.get(url)

    async def post_json(self, url: str, data: Any, **headers: str) -> httpx.Response:
        return await self._http.post(url, json=data, headers=headers)

    async def post_text(self, url: str, text: str, **headers: str) -> httpx.Response:
        return await self._http.post(url, content=text, headers={"Content-Type": "text/plain", **headers})

    async def polled(self, url: str, there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def status() -> dict[str, Any]:
            found: dict[str, Any] = (await self.get(url)).json()
            return found

        return await polling.until(status, there)


@contextlib.asynccontextmanager
async def hosted() -> AsyncIterator[Client]:
    async with LocalHost(build(), port=0) as host, httpx.AsyncClient(timeout=30) as http:
        assert host.url is not None
        yield Client(host.url, http)


def waits(status: dict[str, Any]) -> bool:
    return bool(status.get("pendingHumanInputRequests", []))


def ended(status: dict[str, Any]) -> bool:
    return status["runtimeStatus"] in FINAL


# Agents.


async def test_an_agent_is_asked_in_json_and_remembers_the_session() -> None:
    async with hosted() as client:
        url, session = f"{client.base_url}/api/agents/Joker/run", f"test-{uuid.uuid4().hex}"
        body = {"message": "Tell me a joke.", "session_id": session, "wait_for_response": True}
        first = await client.post_json(url, body)
        second = await client.post_json(url, {**body, "message": "Another."})

    assert (first.status_code, second.status_code) == (200, 200)
    one, two = first.json(), second.json()
    assert {"response", "message", "session_id", "status", "correlation_id", "message_count"} <= one.keys()
    assert (one["status"], one["response"], one["message"]) == ("success", "heard Tell me a joke.", "Tell me a joke.")
    assert one["session_id"] == two["session_id"] == session
    assert (one["message_count"], two["message_count"]) == (2, 4)
    assert one["correlation_id"] != two["correlation_id"]


@pytest.mark.parametrize("name", ["session_id", "thread_id"])
async def test_an_agent_is_asked_in_text_with_its_session_in_the_query(name: str) -> None:
    async with hosted() as client:
        answer = await client.post_text(f"{client.base_url}/api/agents/Joker/run?{name}=s1", "A joke, please.")

    assert answer.status_code == 200
    assert answer.text == "heard A joke, please."
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers[SESSION_HEADER] == "s1"


async def test_the_old_name_of_the_session_is_taken_and_given_back() -> None:
    async with hosted() as client:
        url = f"{client.base_url}/api/agents/Joker/run"
        first = (await client.post_json(url, {"message": "one", "thread_id": "s1"})).json()
        second = (await client.post_json(url, {"message": "two", "session_id": "s1"})).json()
        refused = await client.post_json(url, {"message": "three", "thread_id": "s1", "session_id": "s2"})

    assert first["thread_id"] == first["session_id"] == "s1"
    assert second["message_count"] == 4
    assert refused.status_code == 400 and "error" in refused.json()


@pytest.mark.parametrize("how", ["header", "query", "body"])
async def test_an_agent_is_not_waited_for_if_the_client_says_so(how: str) -> None:
    async with hosted() as client:
        url, body = f"{client.base_url}/api/agents/Joker/run", {"message": "Hi", "session_id": "s1"}
        if how == "header":
            answer = await client.post_json(url, body, **{WAIT_HEADER: "false"})
        elif how == "query":
            answer = await client.post_json(f"{url}?wait_for_response=false", body)
        else:
            answer = await client.post_json(url, {**body, "wait_for_response": False})

    assert answer.status_code == 202
    accepted = answer.json()
    assert (accepted["status"], accepted["response"]) == ("accepted", "Agent request accepted")
    assert accepted["session_id"] == "s1" and accepted["correlation_id"]


async def test_a_bad_request_to_an_agent_is_told_in_error() -> None:
    async with hosted() as client:
        url = f"{client.base_url}/api/agents/Joker/run"
        answers = [
            await client.post_json(url, {"message": ""}),
            await client.post_json(url, ["no", "object"]),
            await client.post_text(url, "{", **{"Content-Type": "application/json"}),
        ]

    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert all(answer.json()["error"] for answer in answers)


async def test_the_health_of_the_app_names_its_agents() -> None:
    async with hosted() as client:
        health = (await client.get(f"{client.base_url}/api/health")).json()

    assert health["status"] == "healthy"
    assert health["agent_count"] == 1
    (agent,) = health["agents"]
    assert agent == {"name": "Joker", "type": "Agent", "http_endpoint_enabled": True, "mcp_tool_enabled": False}


# Workflows.

FLOW = "/api/workflow/content_moderation"
ARTICLE = {"title": "Gardening", "body": "Compost is good."}


async def test_a_workflow_is_started_asked_after_answered_and_ends() -> None:
    async with hosted() as client:
        started = await client.post_json(f"{client.base_url}{FLOW}/run", ARTICLE)
        assert started.status_code == 202
        told = started.json()
        run = told["instanceId"]
        status = await client.polled(f"{client.base_url}{FLOW}/status/{run}", waits)
        (asked,) = status["pendingHumanInputRequests"]
        answered = await client.post_json(
            told["respondUri"].replace("{requestId}", asked["requestId"]), {"approved": True, "reviewer_notes": "fine"}
        )
        last = await client.polled(told["statusQueryGetUri"], ended)

    assert told["message"] == "Workflow started"
    assert told["statusQueryGetUri"] == f"{client.base_url}{FLOW}/status/{run}"
    assert told["respondUri"] == f"{client.base_url}{FLOW}/respond/{run}/{{requestId}}"
    assert (status["instanceId"], status["runtimeStatus"]) == (run, "Running")
    assert status["customStatus"]["state"] == "waiting_for_human_input"
    uuid.UUID(asked["requestId"])
    assert asked["sourceExecutor"] == "review"
    assert asked["requestData"] == {"article": ARTICLE, "prompt": "Publish it?"}
    assert asked["requestType"] == f"{__name__}:Question" and asked["responseType"] == f"{__name__}:Verdict"
    assert answered.status_code == 200
    assert answered.json() == {
        "message": "Response delivered successfully",
        "instanceId": run,
        "requestId": asked["requestId"],
    }
    assert last["runtimeStatus"] == "Completed"
    assert last["output"] == ["Gardening: published, fine"]
    assert last["error"] is None and "pendingHumanInputRequests" not in last


async def test_the_address_that_an_executor_mails_is_the_one_that_the_status_shows() -> None:
    async with hosted() as client:
        started = (await client.post_json(f"{client.base_url}{FLOW}/run", ARTICLE)).json()
        status = await client.polled(started["statusQueryGetUri"], waits)
        (asked,) = status["pendingHumanInputRequests"]
        mailed = WorkflowHitlContext(
            instance_id=started["instanceId"],
            workflow_name="content_moderation",
            base_url_override=client.base_url,
        ).build_respond_url(asked["requestId"])
        answered = await client.post_json(mailed, {"approved": False, "reviewer_notes": "spam"})
        last = await client.polled(started["statusQueryGetUri"], ended)

    assert mailed == asked["respondUrl"]
    assert answered.status_code == 200
    assert "rejected" in str(last["output"])


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_workflow_that_is_waited_for_gives_its_output(how: str) -> None:
    async with hosted() as client:
        url = f"{client.base_url}{FLOW}/run?runId=my-run&timeoutSeconds=30"
        if how == "header":
            answer = await client.post_json(url, {"title": "Empty"}, **{WAIT_HEADER: "true"})
        else:
            answer = await client.post_json(f"{url}&waitForResponse=true", {"title": "Empty"})

    assert answer.status_code == 200
    assert answer.json() == {
        "instanceId": "my-run",
        "runtimeStatus": "Completed",
        "output": ["Empty: nothing to review"],
    }


async def test_a_workflow_that_is_waited_for_and_fails_is_200_with_the_error() -> None:
    async with hosted() as client:
        answer = await client.post_json(f"{client.base_url}{FLOW}/run?waitForResponse=true", {"title": ""})
        status = (await client.get(f"{client.base_url}{FLOW}/status/{answer.json()['instanceId']}")).json()

    assert answer.status_code == 200
    assert (answer.json()["runtimeStatus"], answer.json()["output"]) == ("Failed", None)
    assert "a title is needed" in answer.json()["error"]
    assert "a title is needed" in status["error"]


async def test_a_workflow_that_is_waited_for_too_short_is_202() -> None:
    async with hosted() as client:
        answer = await client.post_json(f"{client.base_url}{FLOW}/run?waitForResponse=true&timeoutSeconds=1", ARTICLE)

    assert answer.status_code == 202
    assert answer.json()["message"] == "Workflow started"


@pytest.mark.parametrize(
    "query",
    ["runId=", "runId=@a", "runId=a%2Fb", f"runId={'x' * 101}", "waitForResponse=maybe",
     "waitForResponse=true&timeoutSeconds=0", "waitForResponse=true&timeoutSeconds=201",
     "waitForResponse=true&timeoutSeconds=soon"],
)  # fmt: skip
async def test_a_bad_query_of_a_start_is_told_in_error(query: str) -> None:
    async with hosted() as client:
        answer = await client.post_json(f"{client.base_url}{FLOW}/run?{query}", ARTICLE)

    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_start_without_a_body_is_told_in_error() -> None:
    async with hosted() as client:
        answer = await client.post_text(f"{client.base_url}{FLOW}/run", "")

    assert answer.status_code == 400 and answer.json()["error"]


@pytest.mark.parametrize(("sent", "told"), [({"topic": "tea"}, '{"topic":"tea"}'), ("tea", "tea")])
async def test_an_agent_that_starts_a_workflow_is_told_json_as_text(sent: Any, told: str) -> None:
    async with hosted() as client:
        answer = await client.post_json(f"{client.base_url}/api/workflow/analysis/run?waitForResponse=true", sent)

    assert answer.status_code == 200
    assert f"saw {told}" in answer.json()["output"][0]["messages"][0]["contents"][0]["text"]


async def test_a_workflow_takes_plain_text() -> None:
    async with hosted() as client:
        answer = await client.post_text(f"{client.base_url}/api/workflow/analysis/run", "tea", **{WAIT_HEADER: "true"})

    assert "saw tea" in answer.text


async def test_what_is_not_there_is_404_and_told_in_error() -> None:
    async with hosted() as client:
        started = (await client.post_json(f"{client.base_url}{FLOW}/run?runId=r1", ARTICLE)).json()
        await client.polled(started["statusQueryGetUri"], waits)
        answers = [
            await client.get(f"{client.base_url}{FLOW}/status/nobody"),
            await client.get(f"{client.base_url}/api/workflow/analysis/status/r1"),
            await client.post_json(f"{client.base_url}/api/workflow/analysis/respond/r1/x", {}),
            await client.post_json(f"{client.base_url}{FLOW}/respond/r1/inner~0~x", {}),
        ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert all(answer.json()["error"] for answer in answers)


async def test_an_answer_that_is_no_json_is_400_and_told_in_error() -> None:
    async with hosted() as client:
        started = (await client.post_json(f"{client.base_url}{FLOW}/run", ARTICLE)).json()
        status = await client.polled(started["statusQueryGetUri"], waits)
        (asked,) = status["pendingHumanInputRequests"]
        answer = await client.post_text(asked["respondUrl"], "{", **{"Content-Type": "application/json"})

    assert answer.status_code == 400 and answer.json()["error"]
