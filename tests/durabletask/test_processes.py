from __future__ import annotations

import json
import pathlib
import shutil

from tests import polling
from tests.durabletask import fleet
from tests.durabletask.scheduler import Scheduler
from tests.host import served

STEPS = 12
RUNS = 12

LOOP = fleet.loop(STEPS)


def test_several_workers_share_the_work_and_one_may_be_killed(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    """Everything finishes, and no step that was recorded is run again."""
    with fleet.of(tmp_path / "app", scheduler, LOOP) as hub:
        for _ in range(3):
            hub.worker()
        url = hub.serve()
        ran = fleet.finish_over_a_kill(hub, url, RUNS, STEPS)
    workers = {pid for _, _, pid in ran}
    assert len(workers) == 3, "some worker had nothing to do"


def test_a_worker_that_stops_gives_back_what_it_does_not_finish(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    """It ends well; another worker does the step."""
    app = fleet.loop(6)
    with fleet.of(tmp_path / "app", scheduler, app) as hub:
        first = hub.worker()
        url = hub.serve()
        assert served.post(url, "0 1", run_id="r").status_code == 202
        hub.holder("middle")
        second = hub.worker()
        first.signal(15)
        first.expect("Stopping")
        first.signal(15)
        first.ended()
        hub.go()
        assert served.finished(url, "r")["output"] == ["0 12000"]
        assert second.process.poll() is None


ASKING = """
class Desk(Executor):
    @handler
    async def ask(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.request_info(text, bool)

    @response_handler
    async def hear(self, asked: str, yes: bool, ctx: WorkflowContext[str, str]) -> None:
        await ctx.yield_output(f"{asked}: {yes}")


app = AgentFunctionApp(workflow=WorkflowBuilder(name="flow", start_executor=Desk("desk"), output_from="all").build())
"""


def test_the_http_api_stands_in_front_of_workers(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    """Start, status, events, an answer: as on any host; a run that waits for a person waits in no process."""
    with fleet.of(tmp_path / "app", scheduler, ASKING) as hub:
        worker = hub.worker()
        url = hub.serve()
        started = served.post(url, "Shall we?", run_id="r")
        assert started.status_code == 202
        stream = served.events(url, "r")
        for line in stream:
            if line == "event: parked":
                break
        (asked,) = served.status(url, "r")["pendingHumanInputRequests"]
        assert asked["requestData"] == "Shall we?"
        worker.kill()
        assert served.http.post(asked["respondUrl"], json="maybe").status_code == 422
        assert served.http.post(asked["respondUrl"], json=True).status_code == 200
        assert served.http.post(asked["respondUrl"], json=False).status_code == 409
        assert served.status(url, "r")["runtimeStatus"] == "Running", "nobody is there to go on with it"
        hub.worker()
        assert served.finished(url, "r")["output"] == ["Shall we?: True"]
        pages = served.http.get(f"{url}/workflow/flow/events/r", headers={"accept": "application/json"}).json()
    numbers = [event["id"] for event in pages["events"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert pages["events"][-1]["type"] == "completed"


def test_a_worker_that_does_not_know_where_the_api_is_says_so(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    with fleet.of(tmp_path / "app", scheduler, LOOP) as hub:
        hub.worker(connected=False).expect("PERDURE_BASE_URL is not set")


def healthy(url: str) -> None:
    """Wait until the front is connected: it has a connection of its own, which comes back in its own time."""
    polling.blocking_until(lambda: served.http.get(f"{url}/health").status_code, lambda code: code == 200)


def test_a_scheduler_that_does_not_answer_is_waited_for(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    """At the start and in the middle; nothing that was accepted is lost."""
    scheduler.stop()
    with fleet.of(tmp_path / "app", scheduler, LOOP) as hub:
        worker = hub.worker(connected=False)
        worker.expect("does not answer")
        url = hub.serve()
        refused = served.post(url, "0 1", run_id="r")
        assert refused.status_code == 503
        assert scheduler.address in refused.json()["error"]
        assert served.http.get(f"{url}/health").status_code == 503
        scheduler.start()
        scheduler.until_connected(1)
        healthy(url)
        assert served.post(url, "0 1", run_id="r").status_code == 202
        hub.holder("middle")
        scheduler.stop()
        assert served.post(url, "1 1", run_id="s").status_code == 503
        hub.go()
        scheduler.start()
        healthy(url)
        assert served.finished(url, "r")["output"] == [f"0 {STEPS * 2_000}"]
        assert served.post(url, "1 1", run_id="s").status_code == 202
        assert served.finished(url, "s")["output"] == [f"1 {STEPS * 2_000}"]
        assert worker.process.poll() is None


VERSIONS = """
class First(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await ctx.send_message(text)


class Second(Executor):
    @handler
    async def step(self, text: str, ctx: WorkflowContext[str, str]) -> None:
        await held("second")
        await ctx.yield_output(text.upper())


first, second = First("first"), Second("NAME")
flow = WorkflowBuilder(name="flow", start_executor=first, output_from="all").add_edge(first, second).build()
app = AgentFunctionApp(workflow=flow)
"""


def test_a_run_whose_executor_no_worker_has_is_parked_with_the_reason(
    tmp_path: pathlib.Path, scheduler: Scheduler
) -> None:
    """It goes on as soon as a worker comes that has it."""
    shared = tmp_path / "shared"
    with (
        fleet.of(tmp_path / "old", scheduler, VERSIONS.replace("NAME", "second"), shared) as old,
        fleet.of(tmp_path / "new", scheduler, VERSIONS.replace("NAME", "renamed"), shared) as new,
    ):
        worker = old.worker()
        assert served.post(old.serve(), "x", run_id="r").status_code == 202
        old.holder("second")
        worker.kill()
        new.worker()
        url = new.serve()
        run = served.status(url, "r")
        assert run["runtimeStatus"] == "Running"
        assert "dafx-flow-second" in run["customStatus"]["waitingFor"]
        assert "start a worker with code that has it" in run["customStatus"]["waitingFor"]
        old.go()
        old.worker()
        assert served.finished(url, "r")["output"] == ["X"]


def test_a_payload_that_was_deleted_fails_the_run_with_the_reason(tmp_path: pathlib.Path, scheduler: Scheduler) -> None:
    """It says which, and what that means."""
    with fleet.of(tmp_path / "app", scheduler, LOOP) as hub:
        worker = hub.worker()
        url = hub.serve()
        assert served.post(url, "0 1", run_id="r").status_code == 202
        hub.holder("middle")
        for payloads in (hub.folder / "shared" / "fleet").glob("*/p"):
            shutil.rmtree(payloads)
        # What it has seen a worker keeps at hand; another one has seen nothing.
        worker.kill()
        hub.worker()
        hub.go()
        run = served.finished(url, "r")
    assert run["runtimeStatus"] == "Failed"
    assert "is not in the store" in json.dumps(run["error"])
