"""What an app imports from agent-framework-azurefunctions, and how it uses it, is here under the same names."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import pathlib
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func
import pytest
from agent_framework import Agent, AgentResponse, SupportsAgentRun, Workflow

import perdure
from perdure import AgentFunctionApp, DurableAIAgent
from perdure.testing import ScriptedChatClient

NAMES = [
    "AgentCallbackContext",
    "AgentFunctionApp",
    "AgentResponseCallbackProtocol",
    "AgentSessionId",
    "DurableAIAgent",
    "DurableAgentSession",
    "WorkflowHitlContext",
    "__version__",
]

CONSTRUCTOR: dict[str, Any] = {
    "agents": None,
    "workflow": None,
    "workflows": None,
    "http_auth_level": func.AuthLevel.FUNCTION,
    "enable_health_check": True,
    "enable_http_endpoints": True,
    "max_poll_retries": None,
    "poll_interval_seconds": None,
    "enable_mcp_tool_trigger": False,
    "default_callback": None,
}
"""In this order; the two of the polling were 30 and 1.0, which the attributes still are."""


def test_the_page_has_a_row_for_each_of_them() -> None:
    page = (pathlib.Path(__file__).parents[2] / "docs/reference/compatibility.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in page.splitlines() if line.startswith("|"))

    assert [name for name in (*NAMES, *CONSTRUCTOR) if f"`{name}`" not in rows] == []


def positional(call: Any) -> dict[str, Any]:
    """The parameters that can be given by position, with their defaults."""
    found = inspect.signature(call).parameters.values()
    return {
        each.name: each.default for each in found if each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"
    }


def keywords(call: Any) -> dict[str, Any]:
    """The parameters that can be given by name only, with their defaults."""
    found = inspect.signature(call).parameters.values()
    return {each.name: each.default for each in found if each.kind is each.KEYWORD_ONLY}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_imported_from_perdure(name: str) -> None:
    assert name in perdure.__all__
    assert getattr(perdure, name) is not None


def test_the_version_is_that_of_the_package() -> None:
    assert perdure.__version__ == importlib.metadata.version("perdure")


def test_the_constructor_takes_its_options_in_that_order() -> None:
    assert list(positional(AgentFunctionApp.__init__).items()) == list(CONSTRUCTOR.items())


def test_what_was_given_is_there_as_attributes() -> None:
    app = AgentFunctionApp(None, None, None, func.AuthLevel.ANONYMOUS, False, False, 7, 0.5, True)

    assert (app.enable_health_check, app.enable_http_endpoints, app.enable_mcp_tool_trigger) == (False, False, True)
    assert (app.max_poll_retries, app.poll_interval_seconds) == (7, 0.5)
    assert app.default_callback is None
    assert app.auth_level is func.AuthLevel.ANONYMOUS


def test_an_app_is_a_durable_functions_app() -> None:
    assert issubclass(AgentFunctionApp, df.DFApp)


def test_an_app_can_be_subclassed_and_its_methods_overridden() -> None:
    added: list[str] = []

    class Mine(AgentFunctionApp):
        def add_agent(self, agent: SupportsAgentRun, *args: Any, **kwargs: Any) -> None:
            added.append(str(agent.name))
            super().add_agent(agent, *args, **kwargs)

    app = Mine(agents=[Agent(client=ScriptedChatClient([]), name="helper")])

    assert added == ["helper"] == list(app.agents)


def test_add_agent_takes_its_options_in_that_order() -> None:
    assert list(positional(AgentFunctionApp.add_agent).items())[1:] == [
        ("callback", None),
        ("enable_http_endpoint", None),
        ("enable_mcp_tool_trigger", None),
    ]
    assert keywords(AgentFunctionApp.add_agent)["entity_id"] is None


def test_get_agent_takes_its_arguments_in_that_order() -> None:
    assert list(positional(AgentFunctionApp.get_agent)) == ["context", "agent_name", "workflow_name"]
    assert positional(AgentFunctionApp.get_agent)["workflow_name"] is None


def test_an_agent_of_a_workflow_is_found_by_both_names() -> None:
    inner: Any = Agent(client=ScriptedChatClient([]), name="inner", description="Says things.")
    app = AgentFunctionApp()
    app.add_agent(inner, entity_id="flow-inner")
    context: Any = None
    found = app.get_agent(context, "inner", "flow")

    assert (found.name, found.id, found.display_name) == ("flow-inner",) * 3
    assert found.description == "Says things."
    with pytest.raises(ValueError, match="other"):
        app.get_agent(context, "other", "flow")


def test_a_durable_agent_has_the_methods_of_an_agent() -> None:
    assert list(positional(DurableAIAgent.run)) == ["messages"]
    assert {"stream": False, "session": None, "options": None}.items() <= keywords(DurableAIAgent.run).items()
    assert keywords(DurableAIAgent.create_session) == {"session_id": None}
    assert list(positional(DurableAIAgent.get_session)) == ["service_session_id"]


def test_a_session_names_its_agent_and_key() -> None:
    named = perdure.AgentSessionId("helper", "s1")

    assert (str(named), named.entity_name) == ("@helper@s1", "dafx-helper")
    assert perdure.AgentSessionId.parse("@helper@s1") == named
    assert perdure.AgentSessionId.parse("s1", agent_name="helper") == named
    assert perdure.AgentSessionId.to_entity_name("helper") == "dafx-helper"
    first, second = (perdure.AgentSessionId.with_random_key("helper") for _ in range(2))
    assert first.name == "helper" and first.key != second.key


def test_a_durable_session_is_made_of_what_it_was() -> None:
    named = perdure.AgentSessionId("helper", "s1")
    made = perdure.DurableAgentSession.from_session_id(named)
    again = perdure.DurableAgentSession.from_dict(made.to_dict())

    assert made.durable_session_id == again.durable_session_id == named
    assert perdure.DurableAgentSession(durable_session_id=named, session_id="x").session_id == "x"


def test_a_callback_is_told_in_these_members() -> None:
    assert [field.name for field in dataclasses.fields(perdure.AgentCallbackContext)] == [
        "agent_name",
        "correlation_id",
        "session_id",
        "request_message",
    ]
    context = perdure.AgentCallbackContext("helper", "c1", "s1", "Hi")
    with pytest.warns(DeprecationWarning, match="session_id"):
        assert context.thread_id == "s1"


def test_a_callback_has_these_methods() -> None:
    class Mine:
        async def on_streaming_response_update(self, update: Any, context: perdure.AgentCallbackContext) -> None: ...

        async def on_agent_response(self, response: AgentResponse, context: perdure.AgentCallbackContext) -> None: ...

    given: perdure.AgentResponseCallbackProtocol = Mine()
    assert AgentFunctionApp(default_callback=given).default_callback is given
    for name in ("on_streaming_response_update", "on_agent_response"):
        assert list(positional(getattr(perdure.AgentResponseCallbackProtocol, name))) == list(
            positional(getattr(Mine, name))
        )


def test_the_addresses_of_a_run_are_made_of_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = [field.name for field in dataclasses.fields(perdure.WorkflowHitlContext)]
    assert fields[:4] == ["instance_id", "workflow_name", "base_url_override", "request_path_prefix"]

    address = perdure.WorkflowHitlContext("r1", "flow", "https://flows.example.com/", "inner~0~")
    assert address.base_url == "https://flows.example.com"
    assert address.build_respond_url("q1") == "https://flows.example.com/api/workflow/flow/respond/r1/inner~0~q1"
    assert address.build_status_url() == "https://flows.example.com/api/workflow/flow/status/r1"
    monkeypatch.delenv("PERDURE_BASE_URL", raising=False)
    monkeypatch.setenv("WEBSITE_HOSTNAME", "localhost:7071")
    assert perdure.WorkflowHitlContext("r1", "flow").base_url == "http://localhost:7071"
    monkeypatch.setenv("WEBSITE_HOSTNAME", "flows.azurewebsites.net")
    assert perdure.WorkflowHitlContext("r1", "flow").base_url == "https://flows.azurewebsites.net"
    monkeypatch.delenv("WEBSITE_HOSTNAME")
    with pytest.raises(RuntimeError, match="base_url"):
        _ = perdure.WorkflowHitlContext("r1", "flow").base_url


def test_workflows_are_given_back_by_name(triage: Workflow) -> None:
    app = AgentFunctionApp(workflows={"triage": triage})

    assert app.workflows == {"triage": triage}
    assert app.workflow is triage


@pytest.fixture
def triage() -> Workflow:
    from agent_framework import WorkflowBuilder

    inner: Any = Agent(client=ScriptedChatClient([]), name="inner")
    return WorkflowBuilder(start_executor=inner, name="triage").build()
