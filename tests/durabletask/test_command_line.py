from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys

import pytest
from durabletask import serialization, task, worker

from perdure import cli, errors
from perdure.hosts.durabletask import sdk

WORKFLOW = """
from typing import Never
from agent_framework import WorkflowBuilder, WorkflowContext, executor
from perdure import AgentFunctionApp

@executor(id="echo")
async def echo(text: str, ctx: WorkflowContext[Never, str]) -> None:
    await ctx.yield_output(text)

app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=echo).build())
"""
FUNCTION = """
from perdure import AgentFunctionApp

app = AgentFunctionApp()


@app.activity_trigger(input_name="name")
def greet(name: str) -> str:
    return f"Hello {name}"
"""


def told(folder: pathlib.Path, app: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that is used wrongly says."""
    (folder / "function_app.py").write_text(app)
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, str(folder)])
    assert ended.value.code == cli.USAGE
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["worker", "serve"])
@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("ftp://somewhere", "no endpoint of a scheduler"),
        ("http://", "no endpoint of a scheduler"),
        ("http://localhost:port", "no endpoint of a scheduler"),
        ("https://my.durabletask.io", "No storage account is configured"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    scheduler: str,
    said: str,
) -> None:
    for name in ("AzureWebJobsStorage", "AzureWebJobsStorage__accountName", "PERDURE_PAYLOADS"):
        monkeypatch.delenv(name, raising=False)
    assert said in told(tmp_path, WORKFLOW, capsys, command, "--scheduler", scheduler, "--taskhub", "hub")


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_folder_that_cannot_be_is_told_before_anything_is_accepted(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    where = ["--scheduler", "http://localhost:1", "--taskhub", "hub", "--payloads", str(tmp_path / "file")]
    said = told(tmp_path, WORKFLOW, capsys, command, *where)
    assert "The folder for payloads cannot be made" in said and str(tmp_path / "file") in said


def test_an_app_without_workflows_and_agents_is_told_where_it_runs(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(tmp_path, FUNCTION, capsys, "worker", "--scheduler", "http://127.0.0.1:1", "--taskhub", "hub")
    assert "perdure start" in said


def test_a_missing_package_is_named_with_its_extra(tmp_path: pathlib.Path) -> None:
    (tmp_path / "function_app.py").write_text(WORKFLOW)
    without = "import sys; sys.modules['durabletask'] = None; from perdure import cli; cli.main()"
    arguments = ["worker", "--scheduler", "http://127.0.0.1:1", "--taskhub", "hub", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", without, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == cli.USAGE, done.stderr
    assert "pip install 'perdure[durabletask]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("url", "host", "secure"),
    [
        ("http://localhost:8080", "localhost:8080", False),
        ("https://my.westeurope.durabletask.io", "my.westeurope.durabletask.io:443", True),
        ("my.westeurope.durabletask.io", "my.westeurope.durabletask.io:443", True),
        ("http://[::1]:8080/", "[::1]:8080", False),
    ],
)
def test_an_endpoint_says_where_and_how(url: str, host: str, secure: bool) -> None:
    found = sdk.address(url, "hub")
    assert (found.host, found.secure, found.taskhub) == (host, secure, "hub")


def test_a_key_goes_only_where_it_is_encrypted() -> None:
    assert sdk.credential(sdk.address("http://localhost:8080", "hub")) is None
    with pytest.raises(errors.UsageError):
        sdk.address("grpc://localhost:8080", "hub")


def test_the_sdk_is_made_as_the_worker_takes_it_to_be() -> None:
    """CONTRACT: the names without which a life would outlive its turn, or work could not be given back."""
    for name in ("_execute_orchestrator", "_execute_activity", "_cancel_orchestrator", "_cancel_activity"):
        found = inspect.signature(getattr(worker.TaskHubGrpcWorker, name))
        assert list(found.parameters) == ["self", "req", "stub", "completionToken"], name
    for name, parameters in (("execute", "instance_id old_events new_events"), ("process_event", "ctx event")):
        found = inspect.signature(getattr(worker._OrchestrationExecutor, name))
        assert list(found.parameters) == ["self", *parameters.split()], name
    registry = worker._Registry()  # type: ignore[no-untyped-call]  # the SDK gives it no types
    made = worker._RuntimeOrchestrationContext("a", registry, serialization.DEFAULT_DATA_CONVERTER)
    for name in ("_is_complete", "_is_replaying", "_encoded_custom_status", "_orchestration_trace_context"):
        assert name in vars(made), name
    assert issubclass(sdk.Abandoned, BaseException) and not issubclass(sdk.Abandoned, Exception)
    assert "on_child_completed" in task.CompositeTask.__abstractmethods__
    assert worker.ActivityNotRegisteredError.__name__ == "ActivityNotRegisteredError"
