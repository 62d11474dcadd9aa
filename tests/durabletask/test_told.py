"""What whoever runs a worker or the API is told of a scheduler that cannot be used: little, once, with what to do."""

from __future__ import annotations

import logging
import pathlib
import signal

import grpc  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.durabletask import fleet
from tests.durabletask.scheduler import Scheduler
from tests.host import served

from perdure.hosts.durabletask import connection_log

APP = """
@executor(id="echo")
async def echo(text: str, ctx: WorkflowContext[Never, str]) -> None:
    await ctx.yield_output(text)

app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=echo).build())
"""

STATUS = grpc.StatusCode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_warns_of_nothing(
    tmp_path: pathlib.Path, scheduler: Scheduler, number: signal.Signals
) -> None:
    with fleet.of(tmp_path / "app", scheduler, APP) as hub:
        worker = hub.worker()
        worker.signal(number)
        assert worker.ended() == 0
        assert "Stopping" in worker.lines[-1]
        assert "WARNING" not in worker.output


def test_a_scheduler_that_is_away_is_told_once_and_once_when_it_is_back(
    tmp_path: pathlib.Path, scheduler: Scheduler
) -> None:
    """However often it is tried meanwhile."""
    scheduler.door.closed = STATUS.UNAVAILABLE, "nobody is here"
    with fleet.of(tmp_path / "app", scheduler, APP) as hub:
        worker = hub.worker(connected=False)
        worker.expect("does not answer: nobody is here")
        scheduler.door.until_turned_away(3)
        scheduler.door.closed = None
        worker.expect(rf"scheduler at {scheduler.address} answers")
        scheduler.until_connected(1)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
        said = [line for line in worker.lines if "does not answer" in line or "WARNING" in line or "status =" in line]
        assert len(said) == 1, worker.output


REFUSALS = (
    (STATUS.PERMISSION_DENIED, "no role", "does not let this identity use the task hub 'fleet': no role", "Data"),
    (STATUS.UNAUTHENTICATED, "no token", "does not let this identity use the task hub 'fleet': no token", "Data"),
    (STATUS.NOT_FOUND, "Task hub not found: fleet", "has no task hub 'fleet'", "--taskhub"),
    (STATUS.UNAVAILABLE, "nobody is here", "does not answer: nobody is here", "Is the endpoint right"),
    (STATUS.INTERNAL, "on fire", "failed: INTERNAL: on fire", ""),
)


def test_what_is_wrong_is_the_reason_of_health_and_of_each_refusal_with_its_remedy(
    tmp_path: pathlib.Path, scheduler: Scheduler
) -> None:
    with fleet.of(tmp_path / "app", scheduler, APP) as hub:
        url = hub.serve()
        for code, details, said, remedy in REFUSALS:
            scheduler.door.closed = code, details
            health = served.http.get(f"{url}/health")
            refused = served.post(url, "x", run_id="r")
            assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
            assert said in health.json()["reason"] and remedy in health.json()["reason"]
            assert refused.status_code == 503
            assert said in refused.json()["error"]
        scheduler.door.closed = None
        assert "reason" not in served.http.get(f"{url}/health").json()


def test_a_worker_that_may_not_use_the_hub_says_what_it_lacks(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    scheduler.door.closed = STATUS.PERMISSION_DENIED, "no role"
    with fleet.of(tmp_path / "app", scheduler, APP) as hub:
        line = hub.worker(connected=False).expect("does not let this identity use").string
    assert "Durable Task Data Contributor" in line and "asked again" in line


def test_what_only_the_worker_is_refused_is_told_once_a_minute_in_one_line() -> None:
    """Such as an identity that may look at runs and may not take work."""
    now = [0.0]
    shown = connection_log.Connection(clock=lambda: now[0])
    text = (
        "Application-level gRPC error (StatusCode.PERMISSION_DENIED): <_MultiThreadedRendezvous of RPC:\n"
        '\tstatus = StatusCode.PERMISSION_DENIED\n\tdetails = "not a worker"\n>'
    )

    def said() -> str | None:
        record = logging.LogRecord("perdure.durabletask", logging.WARNING, "", 0, text, None, None)
        return record.getMessage() if shown.filter(record) else None

    first = said()
    assert first is not None and "\n" not in first
    assert "PERMISSION_DENIED: not a worker" in first and "Durable Task Data Contributor" in first
    assert said() is None
    now[0] = connection_log.AGAIN_SECONDS
    assert said() == first


def test_what_is_not_of_the_connection_is_shown_as_it_is() -> None:
    record = logging.LogRecord("perdure.durabletask", logging.WARNING, "", 0, "A turn of %r is over", ("r",), None)
    assert connection_log.Connection().filter(record)
    assert record.getMessage() == "A turn of 'r' is over"
