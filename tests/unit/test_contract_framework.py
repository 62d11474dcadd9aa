from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import agent_framework
import pytest
from agent_framework import Executor, Workflow, WorkflowBuilder, WorkflowContext, executor, handler

from perdure.workflow import graph

MODULES = {module.rpartition(".")[2]: names for module, names in graph.CONTRACT.items()}


class Stateless(Executor):
    @handler
    async def take(self, text: str, ctx: WorkflowContext[str]) -> None:
        await ctx.send_message(text)


@executor(id="function")
async def function(text: str, ctx: WorkflowContext[str, str]) -> None:
    await ctx.yield_output(text)


def a_workflow() -> Workflow:
    start = Stateless(id="start")
    return WorkflowBuilder(start_executor=start, name="contract").add_edge(start, function).build()


def test_every_private_name_is_where_it_was() -> None:
    assert not graph.moved(), f"agent-framework-core {agent_framework.__version__} has moved what perdure calls"


def test_every_private_name_that_is_touched_is_in_the_contract() -> None:
    tree = ast.parse(pathlib.Path(graph.__file__).read_text(encoding="utf-8"))
    named = {alias: {name.partition(".")[0] for name in names} for alias, names in MODULES.items()}
    touched = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in MODULES
    }
    assert touched, "graph.py reads private modules as module.name"
    missing = {
        f"{module}.{name}"
        for module, name in touched
        if name not in named[module] and not hasattr(agent_framework, name)
    }
    assert not missing, "name these in graph.CONTRACT"


def test_every_private_module_that_is_imported_is_in_the_contract() -> None:
    tree = ast.parse(pathlib.Path(graph.__file__).read_text(encoding="utf-8"))
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agent_framework._")
        for alias in node.names
    }
    assert imported <= set(graph.CONTRACT)


def test_what_the_framework_gives_an_executor_is_told_from_what_the_user_does() -> None:
    attributes = {*vars(Stateless(id="start")), *vars(function)}
    assert attributes <= graph.EXECUTOR_ATTRIBUTES, "else the framework's attributes would be kept as the user's state"


@pytest.mark.parametrize("name", graph.WORKFLOW_ATTRIBUTES)
def test_a_workflow_has_what_is_read_of_it(name: str) -> None:
    assert hasattr(a_workflow(), name)


def test_a_name_that_moved_is_a_clear_error_at_import() -> None:
    script = (
        "import agent_framework._workflows._state as state\ndel state.State.commit\nimport perdure.workflow.graph\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ImportError: perdure cannot host workflows of agent-framework-core")
    assert "agent_framework._workflows._state.State.commit" in last
