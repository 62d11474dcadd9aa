from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure import _version
from perdure.cli import new

PATIENCE_SECONDS = 60

APP = """
import asyncio
from typing import Any
from agent_framework import WorkflowBuilder, WorkflowContext, executor
from perdure import AgentFunctionApp

@executor(id="echo")
async def echo(text: str, ctx: WorkflowContext[None, str]) -> None:
    await ctx.yield_output(text.upper())

@executor(id="failing")
async def failing(text: str, ctx: WorkflowContext[None, str]) -> None:
    raise ValueError("no such customer")

@executor(id="slow")
async def slow(text: str, ctx: WorkflowContext[None, str]) -> None:
    await asyncio.sleep(float(text))
    await ctx.yield_output("slept")

app = AgentFunctionApp(workflows=[
    WorkflowBuilder(name=item.id, start_executor=item).build() for item in (echo, failing, slow)
])
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(APP, encoding="utf-8")
    return tmp_path


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "TASKHUB"))}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def perdure(*args: str, cwd: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure.cli", *args],
        cwd=cwd, env=environment(), input=given, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


class Started:
    """A host in a process of its own, its output read line by line."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "perdure.cli", "start", str(folder), "--port", "0", *args],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._fresh.put(line.rstrip("\n"))
        self._fresh.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        while (line := self._fresh.get(timeout=PATIENCE_SECONDS)) is not None:
            self.lines.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        raise AssertionError(f"the host ended without {pattern!r}:\n" + "\n".join(self.lines))

    def end(self) -> int:
        code = self.process.wait(PATIENCE_SECONDS)
        while (line := self._fresh.get(timeout=PATIENCE_SECONDS)) is not None:
            self.lines.append(line)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def hosting(app: Path) -> Iterator[Started]:
    host = Started(app)
    yield host
    if host.process.poll() is None:
        host.process.kill()
        host.end()


def post(url: str, body: str, prefer: str = "wait=20") -> dict[str, object]:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "text/plain", "Prefer": prefer})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        found: dict[str, object] = json.loads(answer.read())
    return found


def test_the_version_is_told(tmp_path: Path) -> None:
    assert perdure("--version", cwd=tmp_path).stdout == f"perdure {_version.__version__}\n"


def test_a_run_prints_its_output_as_json_and_its_progress_beside_it(app: Path) -> None:
    done = perdure("run", "echo", "hello", cwd=app)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["HELLO"]
    assert "superstep 1: echo" in done.stderr


def test_the_input_comes_from_standard_input_or_a_file_too(app: Path) -> None:
    (app / "mail.txt").write_text("from a file", encoding="utf-8")

    assert json.loads(perdure("run", "echo", "-", cwd=app, given="piped").stdout) == ["PIPED"]
    assert json.loads(perdure("run", "echo", "@mail.txt", cwd=app).stdout) == ["FROM A FILE"]
    assert json.loads(perdure("run", "echo", '"json"', cwd=app).stdout) == ["JSON"]


def test_a_failed_run_exits_with_1(app: Path) -> None:
    failed = perdure("run", "failing", "x", cwd=app)

    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "ValueError: no such customer" in failed.stderr
    assert "perdure/" not in failed.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("run", "nope", "x"), "hosted: echo, failing, slow"),
        (("run", "echo", ""), "input"),
        (("run", "echo", "@nope.txt"), "nope.txt cannot be read"),
        (("run", "echo", "x", "--run-id", "a/b"), "--run-id"),
        (("start", "nowhere"), "There is no"),
        (("start", "--port", "70000"), "65535"),
        (("new", "."), "not empty"),
        (("bogus",), "No such command"),
    ],
)
def test_a_mistake_in_usage_exits_with_2_and_no_traceback(app: Path, args: tuple[str, ...], said: str) -> None:
    refused = perdure(*args, cwd=app)

    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_app_that_raises_exits_with_1_and_shows_the_users_frames_only(app: Path) -> None:
    (app / "function_app.py").write_text("def build():\n    return 1 / 0\n\nbuild()\n", encoding="utf-8")

    failed = perdure("start", cwd=app)

    assert failed.returncode == 1
    assert "return 1 / 0" in failed.stderr
    assert "loading.py" not in failed.stderr


def test_a_port_in_use_exits_with_2_and_names_it(app: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        refused = perdure("start", "--port", port, cwd=app)

    assert refused.returncode == 2
    assert f"Port {port}" in refused.stderr and "--port" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_new_app_works(tmp_path: Path) -> None:
    made = perdure("new", "fresh", cwd=tmp_path)

    assert made.returncode == 0
    assert {
        str(path.relative_to(tmp_path / "fresh")) for path in (tmp_path / "fresh").rglob("*") if path.is_file()
    } == {str(Path(name)) for name in new.FILES}
    json.loads((tmp_path / "fresh" / ".vscode" / "launch.json").read_text(encoding="utf-8"))
    done = perdure("run", "greeting", "Ada", cwd=tmp_path / "fresh")
    assert json.loads(done.stdout) == ["Hello, Ada! Your name has 3 letters."]


def test_start_tells_the_functions_and_each_run_and_drains_when_stopped(hosting: Started) -> None:
    url = hosting.until(r"dafx-echo-start: \[POST\] (\S+)").group(1)
    hosting.until("Try it")
    assert post(url, "hi")["output"] == ["HI"]
    hosting.until("started")
    hosting.until("superstep 1: echo")
    hosting.until("completed")

    slow = url.replace("/echo/", "/slow/")
    post(f"{slow}?runId=s1", "0.5", prefer="wait=0")
    hosting.until("slow s1 started")
    hosting.process.send_signal(signal.SIGINT)

    assert hosting.end() == 0, "\n".join(hosting.lines)
    assert any("slow s1 completed" in line for line in hosting.lines), "\n".join(hosting.lines)
    assert not any("Traceback" in line for line in hosting.lines), "\n".join(hosting.lines)


def test_a_second_signal_ends_at_once(hosting: Started) -> None:
    url = hosting.until(r"dafx-slow-start: \[POST\] (\S+)").group(1)
    hosting.until("Try it")
    post(f"{url}?runId=s1", "600", prefer="wait=0")
    hosting.until("slow s1 started")
    hosting.process.send_signal(signal.SIGTERM)
    hosting.until("Stopping")
    hosting.process.send_signal(signal.SIGTERM)

    assert hosting.end() == 1


def test_a_run_goes_to_the_host_that_has_the_hub(hosting: Started, app: Path) -> None:
    hosting.until("Try it")

    done = perdure("run", "echo", "hello", "--run-id", "r1", cwd=app)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["HELLO"]
    hosting.until("echo r1 completed")
    assert perdure("run", "failing", "x", cwd=app).returncode == 1
    refused = perdure("run", "echo", "other", "--run-id", "r1", cwd=app)
    assert refused.returncode == 2
    assert "another input" in refused.stderr


def test_a_killed_hosts_announcement_is_not_believed(hosting: Started, app: Path) -> None:
    hosting.until("Try it")
    hosting.process.kill()
    hosting.end()
    assert (app / ".perdure" / "default" / "host.json").exists()

    assert json.loads(perdure("run", "echo", "again", cwd=app).stdout) == ["AGAIN"]


def test_json_lines_are_json(app: Path) -> None:
    host = Started(app, "--log-json")
    try:
        host.until('"message"')
        url = json.loads((app / ".perdure" / "default" / "host.json").read_text(encoding="utf-8"))["url"]
        post(f"{url}/workflow/echo/run", "hi")
        host.until('"completed"')
    finally:
        host.process.kill()
        host.end()

    assert {"started", "superstep_started", "completed"} <= {json.loads(line).get("event") for line in host.lines}


def test_the_demo_shows_both_outcomes_without_a_model(tmp_path: Path) -> None:
    env = {**environment(), "OPENAI_API_KEY": "must not be used", "OPENAI_BASE_URL": "http://127.0.0.1:9"}
    shown = subprocess.run(
        [sys.executable, "-m", "perdure.cli", "demo"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip

    assert shown.returncode == 0, shown.stderr
    assert "Email marked as spam: " in shown.stdout
    assert "Email sent: " in shown.stdout
    assert "Where to look next" in shown.stdout


def test_a_broken_host_json_in_the_current_folder_is_told_with_its_place(app: Path) -> None:
    (app / "host.json").write_text('{\n  "version" 2\n}')
    done = perdure("start", cwd=app)

    assert done.returncode == 2
    assert "host.json, line 2, column 13" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_json_with_comments_is_told_of(app: Path) -> None:
    (app / "host.json").write_text('{ // mine\n  "version": "2.0"\n}')
    done = perdure("start", cwd=app)

    assert done.returncode == 2
    assert "host.json has comments" in done.stderr
    assert "Traceback" not in done.stderr


ASKS = """
from agent_framework import Executor, WorkflowBuilder, WorkflowContext, handler, response_handler

from perdure import AgentFunctionApp


class Asks(Executor):
    @handler
    async def take(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(text, str)

    @response_handler
    async def hear(self, original_request: str, response: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(response)


app = AgentFunctionApp(workflow=WorkflowBuilder(start_executor=Asks(id="asks"), name="asks").build())
"""


def test_a_run_that_waits_for_an_answer_ends_the_command_as_parked(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(ASKS)
    done = perdure("run", "asks", "may I?", cwd=tmp_path)

    assert done.returncode == 3
    assert "waiting for answers" in done.stderr
    assert done.stdout == ""
