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


def test_a_factory_that_builds_another_graph_each_time_is_refused() -> None:
    count = iter(range(10))

    def build() -> Workflow:
        return WorkflowBuilder(start_executor=Start(id=f"start{next(count)}"), name="changing").build()

    with pytest.raises(ValueError, match="explicit id"):
        AgentFunctionApp(workflow=build)
