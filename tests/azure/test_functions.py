"""Which functions an app has on Azure: those of its code, and those that only runs of earlier deployments know."""

from __future__ import annotations

import pathlib
import socket
import uuid

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler
from tests.azurite import emulator

from perdure import AgentFunctionApp, errors
from perdure.hosts.azure import functions


class Passing(Executor):
    @handler
    async def pass_on(self, message: str, context: WorkflowContext[str, str]) -> None:
        await context.yield_output(message)


def workflow(*ids: str) -> Workflow:
    first, *others = [Passing(id) for id in ids]
    builder = WorkflowBuilder(name="w", start_executor=first, output_from=[first])
    for other in others:
        builder.add_edge(first, other)
    return builder.build()


@pytest.fixture(autouse=True)
def hub(azurite: emulator.Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AzureWebJobsStorage", azurite.connection())
    monkeypatch.setenv("TASKHUB_NAME", f"t{uuid.uuid4().hex[:8]}")


def deployed(folder: pathlib.Path, *ids: str) -> AgentFunctionApp:
    return AgentFunctionApp(workflow=workflow(*ids), app_folder=folder)


def names(app: AgentFunctionApp) -> set[str | None]:
    return {function.get_function_name() for function in app.get_functions()}


def test_activities_of_earlier_deployments_stay_functions(tmp_path: pathlib.Path) -> None:
    assert "dafx-w-gone" in names(deployed(tmp_path, "here", "gone"))
    assert {"dafx-w-here", "dafx-w-gone"} <= names(deployed(tmp_path, "here"))


def test_an_app_whose_storage_does_not_answer_has_no_functions_until_it_does(
    tmp_path: pathlib.Path, azurite: emulator.Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions that run without those that are gone would fail, for good, the runs that need them."""
    names(deployed(tmp_path, "here", "gone"))
    app = deployed(tmp_path, "here")
    monkeypatch.setattr(functions, "EARLIER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as away:
        away.setenv("AzureWebJobsStorage", azurite.connection(silent.getsockname()[1]))
        with pytest.raises(errors.HubError, match=r"not answered for 0\.2 s.*runs of earlier deployments need"):
            app.get_functions()
    monkeypatch.setattr(functions, "EARLIER_SECONDS", 15.0)
    assert "dafx-w-gone" in names(app)


def test_an_app_without_a_storage_account_is_told_which_setting_names_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AzureWebJobsStorage")
    with pytest.raises(errors.HubError, match=r"No storage account is configured.*Set AzureWebJobsStorage"):
        deployed(tmp_path, "here").get_functions()


def test_a_hub_with_ever_more_functions_is_said_to_have_ids_that_change(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(functions, "MANY_EARLIER", 3)
    for turn in range(2):
        names(deployed(tmp_path, "here", *(f"{turn}-{number}" for number in range(4))))
    assert "has had 4 activities that are gone" in caplog.text
