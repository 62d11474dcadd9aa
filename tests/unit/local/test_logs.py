from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from perdure.hosts.local import logs
from perdure.routes import runs


def event(number: int, kind: str, **data: object) -> runs.Event:
    return runs.Event(number, kind, 1_000_000.0 + number / 100, dict(data))


RUN = (
    event(1, "started"),
    event(2, "superstep_started", superstep=1),
    event(3, "executor_invoked", superstep=1, executorId="split"),
    event(4, "superstep_completed", superstep=1),
    event(5, "superstep_started", superstep=2),
    event(6, "executor_invoked", superstep=2, executorId="left"),
    event(7, "executor_invoked", superstep=2, executorId="right"),
    event(8, "completed"),
)


def written(*told: runs.Event, as_json: bool = False) -> list[str]:
    stream = io.StringIO()
    log = logs.RunLog(stream, as_json=as_json)
    for item in told:
        log.event("r1", "triage", item)
    return stream.getvalue().splitlines()


def test_a_run_has_a_line_for_its_start_each_superstep_and_its_end() -> None:
    lines = [re.sub(r"^\[[\d:.]+\] ", "", line) for line in written(*RUN)]

    assert lines == [
        "triage r1 started",
        "triage r1 superstep 1: split (20 ms)",
        "triage r1 superstep 2: left, right (30 ms)",
        "triage r1 completed (70 ms)",
    ]


def said(executor: str, text: str, mode: str = "append") -> runs.Event:
    part = {"type": "text", "text": text, "merge_mode": mode}
    return event(0, "delta", superstep=1, executorId=executor, type="output", data={"contents": [part]})


def test_what_agents_say_stands_between_the_lines_with_who_says_it_and_forges_none() -> None:
    lines = written(
        event(1, "started"),
        said("writer", ""),
        said("writer", "Once "),
        said("writer", "upon\n[12:00:00.000] triage r1 completed\x1b[2J"),
        said("critic", "No."),
        said("critic", "No.", "replace"),
        event(2, "completed"),
        said("critic", "Late."),
    )

    assert [re.sub(r"^\[(?!12)[\d:.]+\] ", "", line) for line in lines] == [
        "triage r1 started",
        "    writer: Once upon",
        "    [12:00:00.000] triage r1 completed [2J",
        "    critic: No.",
        "triage r1 completed (10 ms)",
        "    critic: Late.",
    ]


def test_what_goes_on_inside_a_sub_workflow_is_named_with_what_wraps_it() -> None:
    lines = written(
        event(1, "superstep_started", superstep=1),
        event(2, "executor_invoked", superstep=1, executorId="child"),
        event(3, "executor_invoked", superstep=1, executorId="writer", path=["child", "deeper"]),
        event(4, "executor_failed", executorId="writer", path=["child"], error={"type": "E", "message": "no"}),
        event(5, "superstep_completed", superstep=1),
    )

    assert lines[0].endswith("executor failed: child/writer: E: no")
    assert "superstep 1: child, child/deeper/writer" in lines[1]


def test_a_failed_run_says_why() -> None:
    assert written(event(1, "failed", error={"type": "ValueError", "message": "no"}))[0].endswith(
        "failed: ValueError: no"
    )


def test_a_value_cannot_forge_a_line() -> None:
    lines = written(event(1, "failed", error={"type": "E", "message": "a\n[00:00:00] triage r2 completed\x1b[2J"}))

    assert len(lines) == 1
    assert "\x1b" not in lines[0]


def test_json_lines_have_every_event() -> None:
    lines = [json.loads(line) for line in written(*RUN, as_json=True)]

    assert [line["event"] for line in lines] == [item.type for item in RUN]
    assert lines[2] == {
        "time": lines[2]["time"], "run": "r1", "workflow": "triage", "event": "executor_invoked",
        "superstep": 1, "executorId": "split",
    }  # fmt: skip


@contextlib.contextmanager
def bare_logging() -> Iterator[None]:
    """Logging as a fresh process has it, without pytest's own handlers."""
    root = logging.getLogger()
    handlers, level, last = list(root.handlers), root.level, logging.lastResort
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.lastResort = last


def test_user_code_may_set_up_logging_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_logging():
        logs.pass_through()
        logging.getLogger("users").info("before")
        logging.basicConfig(format="mine: %(message)s", level=logging.INFO)
        logging.getLogger("users").info("after")

    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("users INFO before")
    assert told[1] == "mine: after"


def test_logged_records_are_json_where_lines_are(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_logging():
        logs.pass_through(as_json=True)
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("users").exception("it\nfailed")

    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "users", "it\nfailed")
    assert "ValueError: no" in told["exception"]
