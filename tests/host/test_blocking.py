"""An executor that blocks the loop is named, and health goes on answering."""

from __future__ import annotations

import pathlib
import time

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
