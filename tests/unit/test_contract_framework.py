from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from typing import Any

import agent_framework
import pytest
from agent_framework import (
    Executor,
    InMemoryCheckpointStorage,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    executor,
    handler,
    step,
    workflow,
)

from perdure.workflow import functional_graph, graph

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


@pytest.mark.parametrize("module", [graph, functional_graph])
def test_every_private_name_is_where_it_was(module: Any) -> None:
    gone = graph.moved(module.CONTRACT)
    assert not gone, f"agent-framework-core {agent_framework.__version__} has moved what perdure calls"


def test_a_functional_workflow_has_what_is_read_of_it() -> None:
    @step
    async def one(number: int) -> int:
        return number

    @workflow
    async def whole(number: int) -> int:
        return await one(number)

    assert [name for name in functional_graph.STEP_ATTRIBUTES if not hasattr(one, name)] == []
    assert [name for name in functional_graph.AGENT_ATTRIBUTES if not hasattr(whole.build().as_agent(), name)] == []
    assert whole.build()._func is whole.__wrapped__  # type: ignore[attr-defined]


async def test_a_checkpoint_of_a_functional_workflow_holds_what_is_read_of_it() -> None:
    @step
    async def one(number: int) -> int:
        return number

    @workflow
    async def whole(number: int) -> int:
        return await one(number)

    storage = InMemoryCheckpointStorage()
    await whole.build(checkpoint_storage=storage).run(1)
    kept = await storage.get_latest(workflow_name="whole")

    assert kept is not None and set(functional_graph.STATE_KEYS) == set(kept.state)
    assert [functional_graph.step_of(key) for key in kept.state["_step_cache"]] == ["one"]


def test_what_is_touched_of_the_functional_internals_is_in_the_contract() -> None:
    source = pathlib.Path(functional_graph.__file__).read_text(encoding="utf-8")
    (names,) = functional_graph.CONTRACT.values()
    touched = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    known = {name.rpartition(".")[2] for name in names} | set(functional_graph.STEP_ATTRIBUTES)
    known |= set(functional_graph.AGENT_ATTRIBUTES)
    own = {"_executes", "_made", "_metadata", "_streams", *vars(functional_graph.Another)}
    assert touched <= known | own


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
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ImportError: perdure cannot host workflows of agent-framework-core")
    assert "agent_framework._workflows._state.State.commit" in last
