from __future__ import annotations

import datetime
from typing import Any

import pytest
from agent_framework import Agent, AgentResponse, Message, WorkflowBuilder
from tests.agents import world

from perdure import AgentFunctionApp
from perdure.testing import ScriptedChatClient


def agent(name: str | None = "helper", answers: Any = ()) -> Agent[Any]:
    return Agent(client=ScriptedChatClient(answers), name=name)


def test_names_of_agents_that_are_the_same_in_any_case_are_refused_with_nothing_half_registered() -> None:
    app = AgentFunctionApp(agents=[agent("helper")])
    with pytest.raises(ValueError, match=r"'helper'.*'Helper'"):
        app.add_agent(agent("Helper"))

    assert list(app.agents) == ["helper"]
    app.add_agent(agent("Helper"), entity_id="other")
    assert list(app.agents) == ["helper", "other"]


def test_an_agent_that_is_hosted_already_is_left_as_it_is_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    helper = agent("helper")
    app = AgentFunctionApp(agents=[helper])
    hosted = app.hosted_agents["helper"]
    app.add_agent(helper, enable_http_endpoint=False)

    assert app.hosted_agents == {"helper": hosted}
    assert "'helper' is hosted already" in caplog.text
    with pytest.raises(ValueError, match="helper"):
        app.add_agent(agent("helper"))


def test_an_agent_and_a_workflow_of_one_name_are_refused() -> None:
    flow = WorkflowBuilder(start_executor=agent("inner"), name="Triage").build()
    with pytest.raises(ValueError, match="workflow 'Triage'"):
        AgentFunctionApp(agents=[agent("triage")], workflow=flow)


@pytest.mark.parametrize("name", [None, ""])
def test_an_agent_without_a_name_is_refused(name: str | None) -> None:
    with pytest.raises(ValueError, match="name"):
        AgentFunctionApp(agents=[agent(name)])
    AgentFunctionApp().add_agent(agent(name), entity_id="named")


def test_the_incumbents_arguments_are_taken_in_its_order() -> None:
    app = AgentFunctionApp([agent()], None, None, "FUNCTION", False, False, 3, 0.5, True, None)

    assert list(app.agents) == ["helper"]
    assert app.agent_wait_seconds == 1.5
    assert app.hosted_agents["helper"].describe() == {
        "name": "helper",
        "type": "Agent",
        "http_endpoint_enabled": False,
        "mcp_tool_enabled": True,
    }


def test_a_time_to_live_is_the_app_s_unless_the_agent_has_its_own() -> None:
    app = AgentFunctionApp(session_ttl=datetime.timedelta(hours=1))
    app.add_agent(agent("one"))
    app.add_agent(agent("two"), session_ttl=0)

    assert [found.session_ttl for found in app.hosted_agents.values()] == [3600.0, 0.0]


async def test_an_app_hosts_agents_and_workflows_beside_each_other() -> None:
    flow = WorkflowBuilder(start_executor=agent("inner", ["from the workflow"]), name="flow").build()
    app = AgentFunctionApp(agents=[agent("helper", ["from the agent"])], workflow=flow, app_folder=world.TESTS)
    async with world.serve(app) as served:
        said = await served.say("Hi")
        ran = await served.call("POST", "workflow/flow/run", content="Hi", headers={"prefer": "wait=10"})

    assert said.json()["response"] == "from the agent"
    assert ran.status_code == 200 and "from the workflow" in ran.text


async def test_agents_inside_a_workflow_have_no_route_of_their_own_unless_asked_for() -> None:
    inner = agent("inner", ["one", "two"])
    flow = WorkflowBuilder(start_executor=inner, name="flow").build()
    async with world.serve(AgentFunctionApp(workflow=flow, app_folder=world.TESTS)) as served:
        closed = await served.say("Hi", agent="inner")
        health = (await served.call("GET", "health")).json()
    app = AgentFunctionApp(agents=[inner], workflow=flow, app_folder=world.TESTS)
    async with world.serve(app) as served:
        opened = await served.say("Hi", agent="inner")

    assert closed.status_code == 404
    assert health["agents"] == [] and health["agent_count"] == 0
    assert opened.status_code == 200


async def test_agents_are_copied_for_each_turn_and_share_their_client() -> None:
    class Counting(Agent[Any]):
        runs = 0

        def run(self, *args: Any, **kwargs: Any) -> Any:
            self.runs += 1
            return super().run(*args, **kwargs)

    client = ScriptedChatClient(["one", "two"])
    built = Counting(client=client, name="helper")
    async with world.serve(AgentFunctionApp(agents=[built])) as served:
        await served.say("Hi")
        await served.say("Hi")

    assert built.runs == 0 and built.context_providers == []
    assert len(client.requests) == 2


async def test_any_object_that_answers_as_an_agent_is_one() -> None:
    class Parrot:
        id = "parrot-1"
        name = "parrot"
        description = "Says it again."

        def create_session(self, *, session_id: str | None = None) -> Any:
            from agent_framework import AgentSession

            return AgentSession(session_id=session_id)

        def get_session(self, service_session_id: str, *, session_id: str | None = None) -> Any:
            raise NotImplementedError

        async def run(self, messages: Any = None, *, session: Any = None) -> Any:
            count = session.state["count"] = session.state.get("count", 0) + 1
            if messages[-1].text == "quiet":
                return None
            return AgentResponse(messages=[Message("assistant", [f"{messages[-1].text} {count}"])])

    parrot: Any = Parrot()
    async with world.serve(AgentFunctionApp(agents=[parrot])) as served:
        first = await served.say("Hi", agent="parrot", session_id="s1")
        await served.crash()
        second = await served.say("Hi", agent="parrot", session_id="s1")
        refused = await served.say("Hi", agent="parrot", session_id="s1", options={"temperature": 1})
        nothing = await served.say("quiet", agent="parrot", session_id="s1")

    assert [first.json()["response"], second.json()["response"]] == ["Hi 1", "Hi 2"]
    assert refused.status_code == 500 and "takes no options" in refused.json()["error"]
    assert nothing.status_code == 500 and "NoneType" in nothing.json()["error"]


async def test_an_app_of_agents_only_lists_no_workflow() -> None:
    async with world.serve(AgentFunctionApp(agents=[agent()])) as served:
        listed = await served.call("GET", "workflows")
        run = await served.call("POST", "workflow/run", content="Hi")

    assert listed.json() == {"workflows": []}
    assert run.status_code == 404
