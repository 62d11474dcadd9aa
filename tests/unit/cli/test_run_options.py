"""What ``perdure run`` gives a run beside its input, where a host has the hub and where none has."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli import test_commands as commands

from perdure.testing import ModelServer
from perdure.testing.model_server import Call, Reply, ToolCall

APP = """
import os
from agent_framework import Agent, AgentExecutor, FunctionInvocationContext, WorkflowBuilder, tool
from agent_framework.openai import OpenAIChatCompletionClient
from perdure import AgentFunctionApp

@tool
def weather(city: str, ctx: FunctionInvocationContext) -> str:
    \"\"\"Tell the weather.\"\"\"
    return f"rain in {city} for {ctx.kwargs.get('user', 'nobody')}"

client = OpenAIChatCompletionClient(model="m", api_key="none", base_url=os.environ["MODEL"])
writer = AgentExecutor(Agent(client, name="writer"), id="writer")
app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=writer).build(), runtime_tools=[weather])
"""


class Model:
    """Asks for the weather where it is offered that, else speaks, and stops after a word until it may go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, call: Call) -> Reply:
        told = [entry["content"] for entry in call.body["messages"] if entry["role"] == "tool"]
        if call.body.get("tools") and not told:
            return Reply(tool_calls=(ToolCall("weather", {"city": "Ulm"}),))
        said = told[0] if told else f"You said {call.last_text}."
        return Reply(said, wait_for=self.go_on, wait_after=2)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    model = Model()
    with ModelServer(model) as server:
        monkeypatch.setenv("MODEL", server.base_url)
        yield model


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    """An app that nobody hosts."""
    (tmp_path / "function_app.py").write_text(APP, encoding="utf-8")
    return tmp_path


@pytest.fixture(params=["here", "by the host"])
def app(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    """An app, and where it is said so a host that has its hub."""
    if request.param == "here":
        yield folder
        return
    host = commands.Started(folder)
    try:
        host.until("http://")
        yield folder
    finally:
        host.process.kill()
        host.end()


def _text(output: str) -> str:
    (response,) = json.loads(output)
    return str(response["messages"][-1]["contents"][0]["text"])


def test_tools_and_arguments_are_given_with_the_run(app: Path, model: Model) -> None:
    model.go_on.set()
    (app / "user.json").write_text('{"user": "anna"}', encoding="utf-8")
    given = ("--tool", "weather", "--function-invocation-kwargs", "@user.json", "--run-id", "r1")
    done = commands.perdure("run", "flow", "the weather?", *given, cwd=app)
    again = commands.perdure("run", "flow", "the weather?", *given, cwd=app)
    other = commands.perdure("run", "flow", "the weather?", "--run-id", "r1", cwd=app)

    assert done.returncode == 0, done.stderr
    assert _text(done.stdout) == "rain in Ulm for anna"
    assert again.stdout == done.stdout
    assert other.returncode == 2 and "other options" in other.stderr


def test_what_agents_say_shows_while_they_say_it(app: Path, model: Model) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "perdure.cli", "run", "flow", "Hi", "--stream"],
        cwd=app, env=commands.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stderr is not None
    patience = threading.Timer(commands.PATIENCE_SECONDS, running.kill)
    patience.start()
    said = ""
    # The model says no more than this before it is let go.
    while not said.endswith("writer: You "):
        letter = running.stderr.read(1)
        assert letter, said
        said += letter
    model.go_on.set()
    output, rest = running.communicate()
    patience.cancel()

    assert running.returncode == 0, said + rest
    assert (said + rest).count("You said Hi.") == 1
    assert _text(output) == "You said Hi."


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--client-kwargs", "[1]"), "--client-kwargs is no JSON object"),
        (("--function-invocation-kwargs", "{"), "--function-invocation-kwargs is no JSON object"),
        (("--function-invocation-kwargs", "@nowhere"), "nowhere cannot be read"),
    ],
)
def test_options_that_are_none_are_a_mistake_in_usage(folder: Path, options: tuple[str, ...], told: str) -> None:
    done = commands.perdure("run", "flow", "Hi", *options, cwd=folder)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr


def test_a_tool_that_the_app_does_not_know_is_a_mistake_in_usage(app: Path) -> None:
    done = commands.perdure("run", "flow", "Hi", "--tool", "rm", cwd=app)
    assert done.returncode == 2
    assert "no runtime tool 'rm'" in done.stderr and "Traceback" not in done.stderr


def test_an_empty_input_is_refused_whatever_comes_with_it(folder: Path) -> None:
    done = commands.perdure("run", "flow", "--stream", cwd=folder)
    assert done.returncode == 2 and "Traceback" not in done.stderr
