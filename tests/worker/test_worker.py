"""Microsoft's own worker finds the functions of an app and runs them; this test is its Functions host."""

from __future__ import annotations

import base64
import contextlib
import json
import pathlib
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import mcp
import mcp_types as types
import pytest
from tests import polling
from tests.azurite import emulator
from tests.worker import extension, library

from perdure import testing
from perdure.hosts.azure import sweep
from perdure.hosts.local import host
from perdure.payloads.stores import storage_account

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"
NAMES = sorted(path.parent.name for path in SAMPLES.glob("*/function_app.py"))
NO_MODEL = dict.fromkeys(("FOUNDRY_PROJECT_ENDPOINT", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_BASE_URL"), "")


@pytest.fixture(scope="session")
def worker_python() -> None:
    """A Python with the worker's library; without one this module is not collected: see ``conftest.py``."""
    assert library.PYTHON.exists()


@contextlib.asynccontextmanager
async def hosted(
    name: str, folder: pathlib.Path, azurite: emulator.Azurite, model: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    """A sample on the worker, over real Blob Storage's emulator."""
    copy = folder / name
    shutil.copytree(SAMPLES / name, copy, ignore=shutil.ignore_patterns(".perdure", "__pycache__"))
    async with running(copy, folder, azurite, model) as (client, _):
        yield client


@contextlib.asynccontextmanager
async def running(
    app: pathlib.Path, folder: pathlib.Path, azurite: emulator.Azurite, model: str = ""
) -> AsyncIterator[tuple[httpx.AsyncClient, list[library.Function]]]:
    """An app on the worker: a client of its HTTP API, and its functions."""
    hub = {"AzureWebJobsStorage": azurite.connection(), "TASKHUB_NAME": f"t{uuid.uuid4().hex[:8]}"}
    asked = {"OPENAI_API_KEY": "none", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": model} if model else {}
    environment = {**NO_MODEL, **asked, **hub, "WEBSITE_HOSTNAME": "localhost:7071"}
    with library.started(app, environment) as worker:
        library.check(worker.functions)
        playing = host.LocalHost(library.app_of(worker), hub=folder / "hub", port=0)
        async with playing as hosting, httpx.AsyncClient(base_url=f"{hosting.url}/api", timeout=60) as client:
            yield client, worker.functions


@pytest.mark.parametrize("name", NAMES)
def test_each_samples_functions_are_found_and_acceptable(
    name: str, azurite: emulator.Azurite, worker_python: None
) -> None:
    model = {"OPENAI_API_KEY": "none", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://127.0.0.1:1"}
    hub = {"AzureWebJobsStorage": azurite.connection(), "TASKHUB_NAME": f"t{uuid.uuid4().hex[:8]}"}
    environment = {**NO_MODEL, **model, **hub}
    with library.started(SAMPLES / name, environment) as worker:
        library.check(worker.functions)
        extension.tools(worker.functions)
        assert worker.functions


def test_the_worker_takes_no_app_whose_storage_does_not_say_what_earlier_deployments_had(
    azurite: emulator.Azurite, worker_python: None
) -> None:
    """It tells the host, which starts it again: with functions missing, runs that need them would fail for good."""
    refused = azurite.connection().replace(storage_account.DEVELOPMENT_KEY, base64.b64encode(b"another").decode())
    environment = {**NO_MODEL, "AzureWebJobsStorage": refused, "TASKHUB_NAME": f"t{uuid.uuid4().hex[:8]}"}
    with (
        pytest.raises(library.Refused, match=r"(?s)does not accept the credentials.*runs of earlier deployments need"),
        library.started(SAMPLES / "email_triage", environment),
    ):
        pass


async def test_a_workflow_runs_on_the_worker(
    tmp_path: pathlib.Path, azurite: emulator.Azurite, worker_python: None
) -> None:
    async with hosted("email_triage", tmp_path, azurite) as client:
        started = await client.post(
            "/workflow/email_triage/run?waitForResponse=true&timeoutSeconds=60", content="Can we meet on Monday?"
        )
        assert started.status_code == 200, started.text
        answer = started.json()
        assert answer["runtimeStatus"] == "Completed"
        assert answer["output"]
        run = answer["instanceId"]
        status = (await client.get(f"/workflow/email_triage/status/{run}")).json()
        assert (status["runtimeStatus"], status["output"]) == ("Completed", answer["output"])
        page = await client.get(f"/workflow/email_triage/events/{run}", headers={"accept": "application/json"})
        events = page.json()["events"]
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] == "completed"
        stream = (await client.get(f"/workflow/email_triage/events/{run}?after=3")).text
        data = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
        assert data == events[3:]
        again = await client.post(f"/workflow/email_triage/run?runId={run}", content="Another mail")
        assert again.status_code == 409


async def test_an_agent_answers_on_the_worker_and_remembers(
    tmp_path: pathlib.Path, azurite: emulator.Azurite, worker_python: None
) -> None:
    with testing.ModelServer() as model:
        async with hosted("single_agent", tmp_path, azurite, model.base_url) as client:
            agents = (await client.get("/agents")).json()["agents"]
            at = f"/agents/{agents[0]['name']}"
            first = await client.post(f"{at}/run", json={"message": "I am Ann.", "session_id": "s"})
            assert first.status_code == 200, first.text
            key = {"message": "Who am I?", "session_id": "s", "correlation_id": "k"}
            second, again = [(await client.post(f"{at}/run", json=key)).json() for _ in range(2)]
            session = (await client.get(f"{at}/sessions/s")).json()
            deleted = await client.delete(f"{at}/sessions/s")
            gone = await client.get(f"{at}/sessions/s")
    assert second == again
    assert second["message_count"] == 4
    assert session["message_count"] == 4
    assert (deleted.status_code, gone.status_code) == (204, 404)


def test_the_agents_of_the_sample_are_tools_of_the_extension(worker_python: None) -> None:
    environment = {**NO_MODEL, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    with library.started(SAMPLES / "mcp", environment) as worker:
        found = extension.tools(worker.functions)
    assert [tool.name for tool in found.values()] == ["travel_rules", "phone_book"]
    assert all(tool.description and tool.shapes_result for tool in found.values())
    assert all(tool.required == ["query"] for tool in found.values())
    assert all(
        {name: part["type"] for name, part in tool.schema["properties"].items()}
        == {"query": "string", "sessionId": "string"}
        for tool in found.values()
    )


TOOLS = """
from agent_framework import Agent
from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient


def answer(messages, options):
    if messages[-1].text == "fail":
        raise RuntimeError("the model is down")
    return " ".join(message.text for message in messages)


agent = Agent(client=ScriptedChatClient(answer), name="Trip planner", description="It plans.")
app = AgentFunctionApp(agents=[agent], enable_mcp_tool_trigger=True, session_ttl=3600)
app.add_agent(Agent(client=ScriptedChatClient(answer), name="brief"), session_ttl=0.2, enable_mcp_tool_trigger=False)
"""


async def test_an_agent_is_asked_as_a_tool_on_the_worker_and_expired_sessions_are_swept_away(
    tmp_path: pathlib.Path, azurite: emulator.Azurite, worker_python: None
) -> None:
    """With what the extension for MCP sends a function, and reads of what that gives."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text(TOOLS)
    shutil.copy(SAMPLES / "mcp" / "host.json", app)
    async with running(app, tmp_path, azurite) as (client, functions):
        async with extension.serving(functions, client) as caller:
            (tool,) = (await caller.list_tools()).tools

            async def ask(**arguments: Any) -> types.CallToolResult:
                return await caller.call_tool(tool.name, arguments)

            first = await ask(query="one", sessionId="s1")
            second = await ask(query="two", sessionId="s1")
            alone = await ask(query="three")
            failed = await ask(query="fail", sessionId="s2")
            blank = await ask(query=" ")
            wrong = await ask(query="x", sessionId="a/b")
            with pytest.raises(mcp.MCPError, match="query"):
                await ask(sessionId="s1")
        session = (await client.get("/agents/Trip planner/sessions/s1")).json()
        await client.post("/agents/brief/run", json={"message": "I am Ann.", "session_id": "s1"})
        at = "/agents/brief/sessions/s1"
        await polling.until(lambda: client.get(at), lambda found: found.status_code == 404)
        left = await entities(client, "dafx-brief")
        swept = await client.post(f"{library.TIMER_ROUTE}/{sweep.NAME}", json={"IsPastDue": False})
        swept_away = await entities(client, "dafx-brief")
        stays = (await client.get("/agents/Trip planner/sessions/s1")).json()
    # The name that the tool has on the local host too: the protocol allows no blank in one.
    assert tool.name.startswith("Trip_planner-") and tool.description == "It plans."
    assert [text(found) for found in (first, second, alone)] == ["one", "one one two", "three"]
    assert (first.meta or {})["sessionId"] == (second.meta or {})["sessionId"] == "s1"
    assert (alone.meta or {})["sessionId"] not in ("s1", "of-the-transport")
    assert session["message_count"] == stays["message_count"] == 4
    assert (swept.status_code, len(left), len(swept_away)) == (200, 1, 0), swept.text
    assert [found.is_error for found in (first, alone, failed, blank, wrong)] == [False, False, True, True, True]
    assert text(failed) == "The agent failed: RuntimeError: the model is down"
    assert "'query' is missing" in text(blank)
    assert "session_id is 'a/b'" in text(wrong)


async def entities(client: httpx.AsyncClient, name: str) -> list[Any]:
    """The entities of a name that the extension has."""
    found = await client.get(f"{client.base_url.join('/')}runtime/webhooks/durabletask/entities/{name}")
    assert found.status_code == 200, found.text
    listed: list[Any] = found.json()
    return listed


def text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def test_a_person_answers_a_run_on_the_worker(
    tmp_path: pathlib.Path, azurite: emulator.Azurite, worker_python: None
) -> None:
    async with hosted("approval", tmp_path, azurite) as client:
        started = await client.post("/workflow/approval/run", content="Where is my order?")
        run = started.json()["instanceId"]
        parked = await _until(client, run, lambda status: "pendingHumanInputRequests" in status)
        assert parked["runtimeStatus"] == "Running", parked["error"]
        (asked,) = parked["pendingHumanInputRequests"]
        at = f"/workflow/approval/respond/{run}/{asked['requestId']}"
        wrong = await client.post(at, json=[1, 2])
        right = await client.post(at, json={"approved": True})
        again = await client.post(at, json={"approved": True})
        status = await _until(client, run, lambda status: status["runtimeStatus"] != "Running")
    assert (wrong.status_code, right.status_code, again.status_code) == (422, 200, 409), right.text
    assert status["runtimeStatus"] == "Completed", status


async def _until(client: httpx.AsyncClient, run: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask after a run until it is as wanted, or has failed: nothing is pushed to a client there."""

    async def ask() -> dict[str, Any]:
        status: dict[str, Any] = (await client.get(f"/workflow/approval/status/{run}")).json()
        return status

    return await polling.until(
        ask, lambda status: holds(status) or status["runtimeStatus"] == "Failed", library.PATIENCE_SECONDS
    )
