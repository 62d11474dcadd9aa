"""An executor that blocks the loop is named, and health goes on answering."""

from __future__ import annotations

import pathlib
import threading
import time
from typing import Any, Never

import pytest
from agent_framework import WorkflowBuilder, WorkflowContext, executor

from perdure import AgentFunctionApp
from perdure.hosts.local import host as local
from perdure.hosts.local import server, serving, watchdog

from . import served

BLOCKED_SECONDS = 5

APP = f"""
    @executor(id="sleepy")
    async def sleepy(text: str, ctx: WorkflowContext[Never, str]) -> None:
        print("sleepy begins", flush=True)
        time.sleep({BLOCKED_SECONDS})
        await ctx.yield_output(text)


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=sleepy).build())
"""


def test_health_answers_within_a_second_and_the_executor_is_named(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", APP)
    with served.start(folder) as host:
        assert served.post(host.url, "x", run_id="r").status_code == 202
        host.expect("sleepy begins")
        began = time.monotonic()
        answers: list[float] = []
        while time.monotonic() - began < BLOCKED_SECONDS - 1:
            asked = time.monotonic()
            answer = served.http.get(f"{host.url}/health", timeout=5)
            answers.append(time.monotonic() - asked)
            assert answer.status_code == 200
            assert answer.json()["status"] == "healthy"
        assert len(answers) >= BLOCKED_SECONDS - 1
        assert max(answers) < 1
        named = host.expect("Executor 'sleepy' has blocked the event loop")
        assert f"{folder / 'function_app.py'}:" in named.string
        assert served.finished(host.url, "r")["output"] == ["x"]
        assert host.output.count("has blocked the event loop") == 1


async def test_what_takes_its_time_while_a_host_starts_is_not_taken_for_an_executor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Imports may: of the protocol for tools, for one."""

    @executor(id="echo")
    async def echo(text: str, ctx: WorkflowContext[Never, str]) -> None:
        await ctx.yield_output(text)

    def watching() -> bool:
        return any(thread.name == watchdog.THREAD and thread not in before for thread in threading.enumerate())

    def server_of(*given: Any, **more: Any) -> server.Server:
        seen.append(watching())
        return made(*given, **more)

    before, made = set(threading.enumerate()), serving.server_of
    seen: list[bool] = []
    monkeypatch.setattr(serving, "server_of", server_of)
    async with local.LocalHost(AgentFunctionApp(workflow=WorkflowBuilder(start_executor=echo).build()), port=0):
        seen.append(watching())
    assert seen == [False, True]
