"""Mistakes that are made when an app is built."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, handler

from perdure import AgentFunctionApp


class Start(Executor):
    @handler
    async def take(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(text)


def workflow(name: str | None = None) -> Workflow:
    return WorkflowBuilder(start_executor=Start(id="start"), name=name).build()


def test_a_workflow_given_as_agents_is_told_of() -> None:
    given: Any = workflow()
    with pytest.raises(ValueError, match="workflow="):
        AgentFunctionApp(given)


def test_a_builder_that_was_not_built_is_told_of() -> None:
    builder: Any = WorkflowBuilder(start_executor=Start(id="start"))
    with pytest.raises(ValueError, match=r"\.build\(\)"):
        AgentFunctionApp(workflow=builder)


def test_a_sole_workflow_may_have_no_name() -> None:
    assert list(AgentFunctionApp(workflow=workflow()).workflows) == ["workflow"]


def test_among_several_each_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name="):
        AgentFunctionApp(workflows=[workflow("one"), workflow()])


def test_names_that_differ_in_case_only_clash() -> None:
    with pytest.raises(ValueError, match="same in any case"):
        AgentFunctionApp(workflows=[workflow("mail"), workflow("Mail")])


@pytest.mark.parametrize("executor", ["a~b", "x" * 257])
def test_an_executor_that_cannot_be_addressed_is_refused(executor: str) -> None:
    built = WorkflowBuilder(start_executor=Start(id=executor), name="flow").build()
    with pytest.raises(ValueError, match="cannot be addressed"):
        AgentFunctionApp(workflow=built)


def test_a_factory_that_builds_another_graph_each_time_is_refused() -> None:
    count = iter(range(10))

    def build() -> Workflow:
        return WorkflowBuilder(start_executor=Start(id=f"start{next(count)}"), name="changing").build()

    with pytest.raises(ValueError, match="explicit id"):
        AgentFunctionApp(workflow=build)


def test_the_hosted_workflows_are_given_back_as_they_were_given() -> None:
    one, two = workflow("one"), workflow("two")
    assert AgentFunctionApp(workflow=one).workflows == {"one": one}
    assert AgentFunctionApp(workflow=one).workflow is one
    app = AgentFunctionApp(workflow=one, workflows=[two])
    assert app.workflows == {"one": one, "two": two}
    assert app.workflow is None
    assert AgentFunctionApp().workflow is None


@pytest.mark.parametrize(
    ("retries", "interval", "shown", "waits"),
    [
        (None, None, (30, 1.0), 200.0),
        (3, 0.5, (3, 0.5), 1.5),
        ("3", "0.5", (3, 0.5), 1.5),
        (0, -1, (1, 1.0), 1.0),
        (None, 2, (30, 2.0), 60.0),
        (None, float("nan"), (30, 1.0), 30.0),
    ],
)
def test_how_long_is_waited_for_an_agent_is_read_from_numbers_and_texts(
    retries: Any, interval: Any, shown: tuple[int, float], waits: float
) -> None:
    app = AgentFunctionApp(max_poll_retries=retries, poll_interval_seconds=interval)
    assert (app.max_poll_retries, app.poll_interval_seconds) == shown
    assert app.agent_wait_seconds == waits


@pytest.mark.parametrize("options", [{"max_poll_retries": "many"}, {"poll_interval_seconds": "long"}])
def test_a_wait_that_is_no_number_is_refused_by_its_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        AgentFunctionApp(**options)
