"""kill -9 of a host whose runs wait for people: what was accepted is kept, what was answered is not asked again."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from tests.host import served

APP = """
from agent_framework import WorkflowExecutor, response_handler


class Asker(Executor):
    def __init__(self) -> None:
        super().__init__(id="asker")
        self.heard: list[str] = []

    @handler
    async def ask(self, count: int, ctx: WorkflowContext[str, str]) -> None:
        for number in range(count):
            await ctx.request_info(number, str)

    @response_handler
    async def hear(self, number: int, answer: str, ctx: WorkflowContext[str, str]) -> None:
        told(f"{number} {answer}")
        self.heard.append(answer)
        await ctx.yield_output(" ".join(self.heard))


def build(levels: int) -> Workflow:
    workflow = WorkflowBuilder(start_executor=Asker(), name="flow").build()
    for level in range(levels):
        child = WorkflowExecutor(workflow, id=f"child{level}", propagate_request=True, allow_direct_output=True)
        workflow = WorkflowBuilder(start_executor=child, name="flow").build()
    return workflow


app = AgentFunctionApp(workflow=build(int(os.environ["LEVELS"])))
"""
QUESTIONS = 2


def pending(url: str) -> dict[int, str]:
    found: list[dict[str, Any]] = served.status(url, "r").get("pendingHumanInputRequests", [])
    return {asked["requestData"]: asked["requestId"] for asked in found}


def respond(url: str, request: str, answer: str) -> int:
    return served.http.post(f"{url}/workflow/flow/respond/r/{request}", json=answer).status_code


@pytest.mark.parametrize("levels", [0, 2])
def test_an_answer_accepted_with_200_just_before_a_kill_is_kept_and_its_request_not_asked_again(
    tmp_path: pathlib.Path, levels: int
) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    asked: dict[int, str] = {}
    for number in range(QUESTIONS):
        with served.start(folder, LEVELS=str(levels)) as host:
            if number == 0:
                served.post(host.url, QUESTIONS, run_id="r")
                assert any(line == "event: parked" for line in served.events(host.url, "r"))
                asked = pending(host.url)
            assert asked[number].count("~") == 2 * levels
            assert respond(host.url, asked[number], f"answer{number}") == 200
            host.kill()
        with served.start(folder, LEVELS=str(levels)) as host:
            assert number not in pending(host.url)
            assert respond(host.url, asked[number], "another") == 409
            host.kill()
    with served.start(folder, LEVELS=str(levels)) as host:
        output = served.post(host.url, QUESTIONS, run_id="r", wait=20).json()["output"]
        served.stop(host)

    answers = [f"answer{number}" for number in range(QUESTIONS)]
    assert output == [" ".join(answers[: number + 1]) for number in range(QUESTIONS)]
    # A step in flight may run again after a kill, always with the same answer.
    assert {line for line in served.ran(folder)} == {f"{number} answer{number}" for number in range(QUESTIONS)}
