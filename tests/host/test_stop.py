"""SIGINT and SIGTERM drain: what is in flight finishes and is recorded, the rest goes on at the next start."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from . import served

APP = """
    @executor(id="first")
    async def first(text: str, ctx: WorkflowContext[str]) -> None:
        told("first begins")
        print("first begins", flush=True)
        # A fifo: it opens for reading when the test opens it for writing.
        await asyncio.to_thread((HERE / "gate").read_text)
        told("first ends")
        await ctx.send_message(text + "!")


    @executor(id="second")
    async def second(text: str, ctx: WorkflowContext[Never, str]) -> None:
        told("second")
        await ctx.yield_output(text.upper())


    app = AgentFunctionApp(
        workflow=WorkflowBuilder(name="flow", start_executor=first).add_edge(first, second).build()
    )
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    made = served.write_app(tmp_path / "app", APP)
    os.mkfifo(made / "gate")
    return made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_step_in_flight_finishes_and_the_run_goes_on_at_the_next_start(folder: pathlib.Path, number: int) -> None:
    with served.start(folder) as host:
        assert served.post(host.url, "hello", run_id="r").status_code == 202
        host.expect("first begins")
        host.signal(number)
        host.expect("Stopping")
        served.let_through(folder / "gate")
        assert host.ended() == 0, host.output
        assert "Traceback" not in host.output
    assert served.ran(folder) == ["first begins", "first ends"]
    with served.start(folder) as host:
        assert served.finished(host.url, "r")["output"] == ["HELLO!"]
        served.stop(host, number)
    assert served.ran(folder) == ["first begins", "first ends", "second"]


def test_while_it_drains_a_host_takes_nothing_new_and_says_so(folder: pathlib.Path) -> None:
    with served.start(folder) as host:
        served.post(host.url, "hello", run_id="r")
        host.expect("first begins")
        host.signal(signal.SIGTERM)
        host.expect("Stopping")
        refused = served.post(host.url, "more", run_id="late")
        assert refused.status_code == 503
        assert "shutting down" in refused.text
        served.let_through(folder / "gate")
        assert host.ended() == 0
    with served.start(folder) as host:
        assert served.finished(host.url, "r")["runtimeStatus"] == "Completed"
        listed = served.http.get(f"{host.url}/runs").json()
        assert "late" not in str(listed)


def test_asked_twice_a_host_stops_at_once_and_nothing_is_lost(folder: pathlib.Path) -> None:
    with served.start(folder) as host:
        served.post(host.url, "hello", run_id="r")
        host.expect("first begins")
        host.signal(signal.SIGINT)
        host.expect("Stopping")
        host.signal(signal.SIGINT)
        assert host.ended() == 1
    with served.start(folder) as host:
        host.expect("first begins")
        served.let_through(folder / "gate")
        assert served.finished(host.url, "r")["output"] == ["HELLO!"]
    assert served.ran(folder) == ["first begins", "first begins", "first ends", "second"]
