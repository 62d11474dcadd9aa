"""The code of a function changes between one start and the next."""

from __future__ import annotations

import pathlib

import pytest
from tests.host import served

HEADER = served.HEADER.replace(
    "from agent_framework import ", "from agent_framework import RunContext, step, workflow, "
)
BEFORE = """
    @step
    async def first(text: str) -> str:
        told("first")
        return text + " first"


    @step(replay_key=lambda text: text)
    async def second(text: str) -> str:
        told("second")
        return text + " second"


    @workflow
    async def flow(text: str, ctx: RunContext) -> str:
        text = await second(await first(text))
        return text + " " + await ctx.request_info("?", str)


    app = AgentFunctionApp(workflow=flow)
"""
EXTENDED = """
    # A comment, and so every line has another number.


    @step
    async def third(text: str) -> str:
        told("third")
        return text + " third"

""" + BEFORE.replace('" second"', '" another second"').replace(
    'text + " " + await ctx.request_info("?", str)', 'await third(text + " " + await ctx.request_info("?", str))'
)
RENAMED = BEFORE.replace("second(", "other(")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """An app with a run that waits for an answer."""
    made = served.write_app(tmp_path / "app", BEFORE, header=HEADER)
    with served.start(made) as host:
        served.post(host.url, "text", run_id="r")
        assert any(line == "event: parked" for line in served.events(host.url, "r"))
        served.stop(host)
    assert served.ran(made) == ["first", "second"]
    return made


def answer(url: str) -> None:
    (asked,) = served.status(url, "r")["pendingHumanInputRequests"]
    assert served.http.post(f"{url}/workflow/flow/respond/r/{asked['requestId']}", json="yes").status_code == 200


def test_results_of_steps_outlive_a_change_of_the_code_around_and_in_them(folder: pathlib.Path) -> None:
    served.write_app(folder, EXTENDED, header=HEADER)
    with served.start(folder) as host:
        answer(host.url)
        ended = served.finished(host.url, "r")
        changed = [line for line in served.events(host.url, "r") if line == "event: definition_changed"]
        served.stop(host)

    assert ended["output"] == ["text first second yes third"]
    assert served.ran(folder) == ["first", "second", "third"]
    assert len(changed) == 1


def test_a_run_whose_step_is_gone_waits_says_so_and_goes_on_when_it_is_back(folder: pathlib.Path) -> None:
    served.write_app(folder, RENAMED, header=HEADER)
    with served.start(folder) as host:
        answer(host.url)
        host.expect("holds results of 'second'")
        shown = served.status(host.url, "r")
        served.stop(host)
    assert shown["runtimeStatus"] == "Running"

    served.write_app(folder, BEFORE, header=HEADER)
    with served.start(folder) as host:
        ended = served.finished(host.url, "r")
        served.stop(host)
    assert ended["output"] == ["text first second yes"]
    assert served.ran(folder) == ["first", "second"]
