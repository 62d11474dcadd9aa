"""What a host is given wrong: it says what to do, ends with the right code, and loses nothing."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import apsw
import pytest
from tests import disks

from perdure.engine import migrations

from . import served

ECHO = """
    @executor(id="echo")
    async def echo(text: str, ctx: WorkflowContext[Never, str]) -> None:
        told(text)
        await ctx.yield_output(text)


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=echo).build())
"""
GATED = """
    @executor(id="gated")
    async def gated(text: str, ctx: WorkflowContext[Never, str]) -> None:
        told("gated")
        print("gated begins", flush=True)
        await asyncio.to_thread((HERE / "gate").read_text)
        ctx.set_state("large", os.urandom(900_000))
        await ctx.yield_output(text)


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=gated).build())
"""
DISK_BYTES = 6 * 1024 * 1024


def outcome(folder: pathlib.Path, *options: str | pathlib.Path, port: int = 0) -> tuple[int, str]:
    """Start a host that is to end by itself; gives the exit code and what it said."""
    with served.start(folder, *options, wait=False, port=port) as host:
        return host.ended(), host.output


def frames(said: str) -> list[str]:
    """The files of the frames that were shown."""
    return re.findall(r'File "([^"]+)", line', said)


@pytest.fixture
def app(tmp_path: pathlib.Path) -> pathlib.Path:
    return served.write_app(tmp_path / "app", ECHO)


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A small disk of its own."""
    with disks.mounted(tmp_path / "disk", DISK_BYTES) as place:
        yield place


USAGE = MappingProxyType(
    {
        "no app": ("x = 1", "has no app"),
        "two apps": (f"{ECHO}\n    again = AgentFunctionApp(workflow=app.workflows['flow'])", "several apps"),
        "missing package": ("    import there_is_none_such", "pip install"),
        "no workflow": ("    app = AgentFunctionApp()", "hosts nothing"),
        "an automatic name": (
            f"{ECHO}\n    app = AgentFunctionApp(workflows=[WorkflowBuilder(start_executor=echo).build()] * 2)",
            "name",
        ),
    }
)


@pytest.mark.parametrize("case", ["no app", "two apps", "missing package", "no workflow"])
def test_a_mistake_in_usage_ends_with_2_and_no_traceback(tmp_path: pathlib.Path, case: str) -> None:
    body, said = USAGE[case]
    code, output = outcome(served.write_app(tmp_path / "app", body))
    assert code == 2, output
    assert said in output
    assert "Traceback" not in output


@pytest.mark.parametrize("case", ["an automatic name"])
def test_an_app_that_cannot_be_built_shows_the_users_line_only(tmp_path: pathlib.Path, case: str) -> None:
    body, said = USAGE[case]
    folder = served.write_app(tmp_path / "app", body)
    code, output = outcome(folder)
    assert code == 1, output
    assert said in output
    assert set(frames(output)) == {str(folder / "function_app.py")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:\n    pass\n", "SyntaxError"),
        ("import json\n\n\ndef load():\n    return json.loads('{')\n\n\nload()\n", "JSONDecodeError"),
        ("raise SystemExit(3)\n", r"sys.exit\(3\)"),
        ("from json import no_such_name\n", "ImportError"),
    ],
)
def test_a_file_that_raises_ends_with_1_and_shows_the_users_frames_only(
    tmp_path: pathlib.Path, text: str, said: str
) -> None:
    folder = served.write_app(tmp_path / "app", "", header=text)
    code, output = outcome(folder)
    assert code == 1, output
    assert re.search(said, output)
    assert str(folder / "function_app.py") in output
    assert not [file for file in frames(output) if "perdure" in file or "importlib" in file]


def test_a_place_without_an_app_ends_with_2(tmp_path: pathlib.Path) -> None:
    code, output = outcome(tmp_path)
    assert code == 2
    assert "There is no function_app.py" in output and "perdure new" in output
    code, output = outcome(tmp_path / "nowhere")
    assert code == 2
    assert "Traceback" not in output


def test_a_port_in_use_ends_with_2_and_the_flag_to_give(app: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output = outcome(app, port=taken.getsockname()[1])
    assert code == 2, output
    assert "is in use" in output and "--port" in output
    assert "Traceback" not in output


def test_a_second_host_of_a_hub_ends_with_1_and_the_pid_of_the_first(app: pathlib.Path) -> None:
    with served.start(app) as host:
        code, output = outcome(app)
        assert code == 1, output
        assert f"in use by process {host.process.pid}" in output and "--hub" in output
        assert "Traceback" not in output
        assert served.post(host.url, "still there", wait=10).json()["output"] == ["still there"]


def test_a_hub_of_a_newer_schema_ends_with_1_and_is_left_alone(app: pathlib.Path) -> None:
    with served.start(app) as host:
        served.post(host.url, "kept", run_id="r", wait=10)
        served.stop(host)
    file = app / ".perdure" / "default" / "hub.db"
    with apsw.Connection(str(file)) as connection:
        connection.pragma("user_version", len(migrations.HUB) + 1)
    connection.close()
    code, output = outcome(app)
    assert code == 1, output
    assert "newer" in output
    assert "Traceback" not in output
    with apsw.Connection(str(file)) as connection:
        assert connection.pragma("user_version") == len(migrations.HUB) + 1
        connection.pragma("user_version", len(migrations.HUB))
    connection.close()
    with served.start(app) as host:
        assert served.status(host.url, "r")["output"] == ["kept"]


def test_a_hub_that_cannot_be_made_ends_with_1(app: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    code, output = outcome(app, "--hub", tmp_path / "file" / "hub")
    assert code == 1, output
    assert "cannot be opened" in output and "--hub" in output
    assert "Traceback" not in output


def test_a_hub_on_a_disk_that_cannot_be_written_ends_with_1(app: pathlib.Path, disk: pathlib.Path) -> None:
    with served.start(app, "--hub", disk / "hub") as host:
        served.post(host.url, "kept", run_id="r", wait=10)
        served.stop(host)
    for place in (disk / "hub", disk / "fresh"):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, output = outcome(app, "--hub", place)
        assert code == 1, output
        assert "permissions" in output
        assert "Traceback" not in output
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with served.start(app, "--hub", disk / "hub") as host:
        assert served.status(host.url, "r")["output"] == ["kept"]


def fill(disk: pathlib.Path) -> pathlib.Path:
    """Take all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def test_a_full_disk_refuses_starts_keeps_results_and_goes_on_by_itself(
    tmp_path: pathlib.Path, disk: pathlib.Path
) -> None:
    folder = served.write_app(tmp_path / "app", GATED)
    os.mkfifo(folder / "gate")
    with served.start(folder, "--hub", disk / "hub") as host:
        assert served.post(host.url, "first", run_id="first").status_code == 202
        host.expect("gated begins")
        ballast = fill(disk)
        served.let_through(folder / "gate")
        host.expect("disk is full.*Free some space")

        refused = served.post(host.url, "x" * 1_000_000, run_id="refused")
        assert refused.status_code in (503, 507), refused.text
        assert "disk is full" in refused.json()["error"]
        assert served.http.get(f"{host.url}/workflow/flow/status/refused").status_code == 404
        assert served.status(host.url, "first")["runtimeStatus"] == "Running"

        ballast.unlink()
        assert served.finished(host.url, "first")["output"] == ["first"]
        assert served.ran(folder) == ["gated"], "what was paid for was paid for again"
        (disk / "after").write_text("")
        assert served.post(host.url, "again", run_id="refused").status_code == 202
        assert "Traceback" not in host.output


def test_started_on_a_full_disk_a_host_says_so_and_later_finds_everything(
    app: pathlib.Path, disk: pathlib.Path
) -> None:
    with served.start(app, "--hub", disk / "hub") as host:
        served.post(host.url, "kept", run_id="r", wait=10)
        host.kill()
    ballast = fill(disk)
    code, output = outcome(app, "--hub", disk / "other")
    assert code == 1, output
    assert "Traceback" not in output
    assert "free" in output.casefold()
    ballast.unlink()
    with served.start(app, "--hub", disk / "hub") as host:
        assert served.status(host.url, "r")["output"] == ["kept"]


RAISES = """
    @dataclass
    class Order:
        count: int


    def divide(order: Order) -> float:
        return 1 / order.count


    @executor(id="raises")
    async def raises(order: Order, ctx: WorkflowContext[Never, float]) -> None:
        await ctx.yield_output(divide(order))


    app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=raises).build())
"""


def test_an_executor_that_raises_fails_its_run_with_the_users_frames_only(tmp_path: pathlib.Path) -> None:
    folder = served.write_app(tmp_path / "app", RAISES)
    with served.start(folder) as host:
        answer = served.post(host.url, {"count": 0}, run_id="r", wait=10)
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        assert told["runtimeStatus"] == "Failed"
        assert "ZeroDivisionError" in told["error"]
        host.expect("File .*function_app.py.*in divide")
        assert set(frames(host.output)) == {str(folder / "function_app.py")}
        (failed,) = (line for line in served.events(host.url, "r") if line.startswith('data: {"id":5,"type":"failed"'))
        assert "in divide" in failed and "perdure/" not in failed
