"""kill -9 of a host while a step two levels down runs, or waits: what was recorded before is not done again."""

from __future__ import annotations

import contextlib
import pathlib
import signal
from typing import Any

import httpx
import pytest
from tests.host import gates, served

APP = (
    gates.CODE
    + """
import signal

from agent_framework import WorkflowExecutor, response_handler

STEPS = 4


def die_at(place: str) -> None:
    if (HERE / "die").exists() and (HERE / "die").read_text() == place:
        os.kill(os.getpid(), signal.SIGKILL)


class Step(Executor):
    def __init__(self, number: int) -> None:
        super().__init__(id=f"s{number}")
        self.number = number
        self.times = 0

    @handler
    async def go(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        told(f"{self.id} {text}")
        die_at(f"{self.id} {text}")
        self.times += 1
        ctx.set_state("done", [*ctx.get_state("done", []), f"{self.id}x{self.times}"])
        if self.number < STEPS:
            await ctx.send_message(text)
        else:
            await ctx.request_info(text, str)

    @response_handler
    async def hear(self, text: str, answer: str, ctx: WorkflowContext[str, str]) -> None:
        told(f"heard {answer}")
        if (HERE / "die").exists():
            await held("accepted")
        die_at(f"heard {answer}")
        await ctx.yield_output(f"{text} {answer}: {' '.join(ctx.get_state('done'))}")


class Relay(Executor):
    @handler
    async def relay(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        told(f"{self.id} {text}")
        if self.id == "last":
            await ctx.yield_output(text)
        for word in text.split("|"):
            await ctx.send_message(word)


steps = [Step(number) for number in range(1, STEPS + 1)]
workflow = WorkflowBuilder(start_executor=steps[0], name="innermost").add_chain(steps).build()
for level in ("deeper", "child"):
    first, last = Relay(id="first"), Relay(id="last" if level == "child" else "end")
    if level == "child":
        wrapper = WorkflowExecutor(workflow, id=level, propagate_request=True)
    else:
        wrapper = WorkflowExecutor(workflow, id=level, propagate_request=True, allow_direct_output=True)
    workflow = WorkflowBuilder(start_executor=first, name="flow").add_chain([first, wrapper, last]).build()

app = AgentFunctionApp(workflow=workflow)
"""
)


def pending(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.status(url, "r").get("pendingHumanInputRequests", [])
    return found


def respond(url: str, request: str, answer: str) -> int:
    return served.http.post(f"{url}/workflow/flow/respond/r/{request}", json=answer).status_code


def parked(url: str) -> list[dict[str, Any]]:
    assert any(line == "event: parked" for line in served.events(url, "r"))
    return pending(url)


@pytest.mark.parametrize("step", ["s1", "s3", "s4"])
def test_of_a_sub_workflow_killed_in_a_step_only_that_step_is_run_again(tmp_path: pathlib.Path, step: str) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    (folder / "die").write_text(f"{step} x")
    with served.start(folder) as host:
        with contextlib.suppress(httpx.TransportError):
            # It may be gone before it has answered.
            served.post(host.url, "x", run_id="r")
        assert host.ended() == -signal.SIGKILL, host.output
    (folder / "die").unlink()
    with served.start(folder) as host:
        (asked,) = parked(host.url)
        assert asked["requestId"].startswith("child~0~deeper~0~")
        assert respond(host.url, asked["requestId"], "yes") == 200
        output = served.post(host.url, "x", run_id="r", wait=20).json()["output"]
        served.stop(host)

    ran = served.ran(folder)
    assert output == ["x yes: s1x1 s2x1 s3x1 s4x1"]
    assert {line: ran.count(line) for line in ran if line.startswith("s")} == {
        f"s{number} x": 2 if step == f"s{number}" else 1 for number in range(1, 5)
    }
    assert ran.count("heard yes") == 1


def test_an_answer_accepted_with_200_is_heard_two_levels_down_after_a_kill_while_it_is_heard(
    tmp_path: pathlib.Path,
) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    with gates.Gate() as gate, served.start(folder, GATE_PORT=gate.port) as host:
        served.post(host.url, "x", run_id="r")
        (asked,) = parked(host.url)
        (folder / "die").write_text("heard yes")
        assert respond(host.url, asked["requestId"], "yes") == 200
        gate.open()
        assert host.ended() == -signal.SIGKILL, host.output
    (folder / "die").unlink()
    with served.start(folder) as host:
        assert respond(host.url, asked["requestId"], "another") == 409
        output = served.post(host.url, "x", run_id="r", wait=20).json()["output"]
        served.stop(host)

    ran = served.ran(folder)
    assert output == ["x yes: s1x1 s2x1 s3x1 s4x1"]
    assert [ran.count(f"s{number} x") for number in range(1, 5)] == [1, 1, 1, 1]
    assert ran.count("heard yes") == 2


def test_a_withdrawal_accepted_with_200_just_before_a_kill_is_kept(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    with served.start(folder) as host:
        served.post(host.url, "x", run_id="r")
        (asked,) = parked(host.url)
        gone = served.http.delete(f"{host.url}/workflow/flow/respond/r/{asked['requestId']}")
        assert gone.status_code == 200
        host.kill()
    with served.start(folder) as host:
        assert pending(host.url) == []
        assert respond(host.url, asked["requestId"], "late") == 409
        ended = served.post(host.url, "x", run_id="r", wait=20).json()
        served.stop(host)

    assert (ended["runtimeStatus"], ended["output"]) == ("Completed", [])
