"""The code changes between one start and the next: a run goes on, or waits and says for what."""

from __future__ import annotations

import contextlib
import json
import pathlib
from typing import Any

import httpx
import pytest

from . import served

BEFORE = """
    @executor(id="first")
    async def first(text: str, ctx: WorkflowContext[str]) -> None:
        told("first")
        await ctx.send_message(text + " first")


    @executor(id="middle")
    async def middle(text: str, ctx: WorkflowContext[str]) -> None:
        told("middle")
        if (HERE / "die").exists():
            os._exit(9)
        await ctx.send_message(text + " middle")


    @executor(id="last")
    async def last(text: str, ctx: WorkflowContext[Never, str]) -> None:
        told("last")
        await ctx.yield_output(text + " last")


    app = AgentFunctionApp(
        workflow=WorkflowBuilder(name="flow", start_executor=first)
        .add_edge(first, middle).add_edge(middle, last).build()
    )
"""
RENAMED = BEFORE.replace('id="middle"', 'id="centre"')
REMOVED = BEFORE.replace(".add_edge(first, middle).add_edge(middle, last)", ".add_edge(first, last)")
EXTENDED = BEFORE.replace(
    "    app = ",
    """
    @executor(id="audit")
    async def audit(text: str, ctx: WorkflowContext) -> None:
        told(f"audit of {text}")


    app = """,
).replace(".build()", ".add_edge(middle, audit).build()")
ANOTHER = BEFORE.replace('name="flow"', 'name="other"')


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """An app with a run that stands before ``middle``, its host dead."""
    made = served.write_app(tmp_path / "app", BEFORE)
    (made / "die").write_text("")
    with served.start(made) as host:
        with contextlib.suppress(httpx.TransportError):
            # It may be gone before it has answered.
            served.post(host.url, "text", run_id="r")
        assert host.ended() == 9, host.output
    (made / "die").unlink()
    assert served.ran(made) == ["first", "middle"]
    return made


def logged(url: str) -> list[dict[str, Any]]:
    """The events of the run."""
    found = [json.loads(line.removeprefix("data: ")) for line in served.events(url, "r") if line.startswith("data: ")]
    assert [event["id"] for event in found] == list(range(1, len(found) + 1))
    return found


@pytest.mark.parametrize("code", [RENAMED, REMOVED], ids=["renamed", "removed"])
def test_a_run_whose_executor_is_gone_waits_says_so_and_goes_on_when_it_is_back(
    folder: pathlib.Path, code: str
) -> None:
    served.write_app(folder, code)
    with served.start(folder) as host:
        host.expect("'r' needs executor 'middle'")
        waiting = served.status(host.url, "r")
        assert waiting["runtimeStatus"] == "Running"
        assert "'middle'" in waiting["customStatus"]["waitingFor"]
        assert served.post(host.url, "new", wait=10).json()["runtimeStatus"] == "Completed"
        served.stop(host)
    before = served.ran(folder)
    served.write_app(folder, BEFORE)
    with served.start(folder) as host:
        assert served.finished(host.url, "r")["output"] == ["text first middle last"]
    assert served.ran(folder) == [*before, "middle", "last"]


def test_a_changed_graph_that_has_what_the_run_needs_goes_on_and_an_event_says_so(folder: pathlib.Path) -> None:
    served.write_app(folder, EXTENDED)
    with served.start(folder) as host:
        assert served.finished(host.url, "r")["output"] == ["text first middle last"]
        changes = [event for event in logged(host.url) if event["type"] == "definition_changed"]
        assert len(changes) == 1
        assert changes[0]["data"]["from"] != changes[0]["data"]["to"]
        # The graph is part of the run: it does not walk edges that came later; a new run does.
        assert not [line for line in served.ran(folder) if line.startswith("audit")]
        assert served.post(host.url, "new", wait=10).json()["runtimeStatus"] == "Completed"
    assert "audit of new first middle" in served.ran(folder)


def test_a_run_whose_workflow_is_gone_goes_on_when_it_is_back(folder: pathlib.Path) -> None:
    served.write_app(folder, ANOTHER)
    with served.start(folder) as host:
        host.expect("dafx-flow")
        assert served.post(host.url, "new", wait=10).json()["runtimeStatus"] == "Completed"
        served.stop(host)
    served.write_app(folder, BEFORE)
    with served.start(folder) as host:
        assert served.finished(host.url, "r")["output"] == ["text first middle last"]
