from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from perdure.engine import records
from perdure.hosts.local.functions.history import Kind

from .conftest import ROOT, Serve, Served


@pytest.fixture
async def served(serve: Serve) -> Served:
    hosted: Served = await serve("language")
    return hosted


def count(kind: int, at_least: int = 1) -> Any:
    def holds(seen: list[records.Event]) -> bool:
        return [json.loads(event.data)["EventType"] for event in seen].count(kind) >= at_least

    return holds


async def test_a_retry_waits_and_tries_again(served: Served) -> None:
    job = {"name": "a", "good_at": 3}

    assert await served.output("retried", json.dumps(job)) == [3, "after"]


async def test_a_retry_gives_up_after_its_attempts(served: Served) -> None:
    output = await served.output("retried", json.dumps({"name": "b", "good_at": 9}))

    assert output == ["Activity function 'flaky' failed: ConnectionError: not yet", "after"]
    assert served.module.attempts["b"] == 3


async def test_a_retry_goes_on_after_a_crash(served: Served) -> None:
    instance_id = await served.start("retried", json.dumps({"name": "c", "good_at": 3}))
    await served.until(instance_id, count(Kind.TASK_FAILED))
    await served.crash()

    assert (await served.ended(instance_id))["output"] == [3, "after"]


async def test_an_activity_that_raises_fails_the_orchestration_with_its_reason(served: Served) -> None:
    status = await served.ended(await served.start("fails"))

    assert status["runtimeStatus"] == "Failed"
    assert status["output"].startswith("Orchestrator function 'fails' failed: Activity function 'Boom' failed: ")
    assert "ValueError: no luck" in status["output"]
    assert 'raise ValueError(f"no {value}")' in status["output"], "with the user's frames"
    assert not any(word in status["output"] for word in ("site-packages", "perdure", "direct cause"))


async def test_an_unknown_activity_is_named(served: Served) -> None:
    output = await served.output("unknown")

    assert "The function 'nowhere' doesn't exist, is disabled, or is not an activity function." in output
    assert "'echo'" in output


async def test_sub_orchestrations_with_and_without_an_id_and_with_retry(served: Served) -> None:
    instance_id = await served.start("parent", "5")

    status = await served.ended(instance_id)

    own, named, failed = status["output"]
    assert own == {"doubled": 10, "parent": instance_id}
    assert named == {"doubled": 4, "parent": instance_id}
    assert failed.startswith("Orchestrator function 'fails' failed: Activity function 'Boom' failed")
    assert (await served.status(f"{instance_id}-named"))["output"] == named
    assert (await served.status(f"{instance_id}-again"))["runtimeStatus"] == "Failed"


async def test_sub_orchestrations_survive_a_crash(served: Served) -> None:
    ids = [await served.start("parent", "5") for _ in range(5)]
    await served.crash()

    for instance_id in ids:
        assert (await served.ended(instance_id))["output"][0] == {"doubled": 10, "parent": instance_id}


async def test_an_orchestration_continues_as_new(served: Served) -> None:
    instance_id = await served.start("eternal")
    await served.until(instance_id, count(Kind.CONTINUE_AS_NEW, 2))
    await served.crash()

    status = await served.ended(instance_id)

    assert (status["output"], status["input"]) == (3, "3")
    events = (await served.status(instance_id, showHistory=True))["historyEvents"]
    assert [event["EventType"] for event in events][:1] == ["ExecutionStarted"]
    assert len(events) == 4, "only the last execution has a history"


async def test_events_are_taken_in_the_order_sent_and_early_ones_kept(served: Served) -> None:
    instance_id = await served.start("listening")
    for word in ("one", "two", "three", "stop"):
        reply = await served.ask("POST", f"{ROOT}/instances/{instance_id}/raiseEvent/word", json=word)
        assert reply.status_code == 202

    assert (await served.ended(instance_id))["output"] == ["one", "two", "three"]


async def test_an_orchestrations_own_ids_and_clock_stay_the_same(served: Served) -> None:
    first, second, at = await served.output("ids")

    assert first != second
    assert at.endswith("+00:00")


async def test_what_loses_a_race_goes_on_to_its_end(served: Served) -> None:
    assert await served.output("first_of_two") == [True, "fast"]

    assert not served.module.left_behind.is_set()
    served.module.opened.set()
    async with asyncio.timeout(10):
        await served.module.left_behind.wait()


async def test_one_failure_fails_them_all(served: Served) -> None:
    assert "ValueError: no luck" in await served.output("all_or_nothing")


FAN = """
# mypy: ignore-errors
import azure.durable_functions as df

app = df.DFApp()
runs = 0


@app.orchestration_trigger(context_name="context")
def fan(context):
    global runs
    runs += 1
    return sum((yield context.task_all([context.call_activity("one", number) for number in range(50)])))


@app.activity_trigger(input_name="number")
def one(number: int) -> int:
    return number
"""


async def test_the_code_is_run_again_only_for_what_can_bring_it_on(serve: Serve) -> None:
    served: Served = await serve(FAN)

    assert await served.output("fan") == 1225
    assert served.module.runs == 2, "once at the start and once when the last of 50 had come"


async def test_a_wait_that_mixes_old_and_new_tasks_hangs_and_is_reported(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    instance_id = await served.start("mixed")
    await served.until(instance_id, count(Kind.TASK_COMPLETED))
    with caplog.at_level(logging.WARNING, "perdure.functions"):
        served.module.opened.set()
        await served.until(instance_id, count(Kind.TASK_COMPLETED, 2))

    status = await served.status(instance_id)
    assert status["runtimeStatus"] == "Running", "the code has gone on, but what it asks for next is not started"
    (told,) = [record.getMessage() for record in caplog.records if record.name == "perdure.functions"]
    assert f"{instance_id!r} (mixed) is held up: activity 'echo' comes only after one of (event 'never')" in told

    await served.ask("POST", f"{ROOT}/instances/{instance_id}/raiseEvent/never", json="now")
    assert (await served.ended(instance_id))["output"] == "slow"


async def test_an_orchestrator_that_is_not_deterministic_fails_with_the_first_step_that_differs(
    served: Served,
) -> None:
    instance_id = await served.start("random_steps")
    await served.until(instance_id, count(Kind.TASK_COMPLETED, 1))
    await served.ask("POST", f"{ROOT}/instances/{instance_id}/raiseEvent/anything", json=1)

    status = await served.ended(instance_id)

    assert status["runtimeStatus"] == "Failed"
    assert "Non-Deterministic workflow detected: step 2 was " in status["output"]
    kinds = ("a timer", "activity 'echo'")
    was, now = kinds if "was a timer" in status["output"] else reversed(kinds)
    assert f"step 2 was {was} when it first ran, and is {now} now" in status["output"]


CHANGED = """
# mypy: ignore-errors
import azure.durable_functions as df

app = df.DFApp()


@app.orchestration_trigger(context_name="context")
def changing(context):
    first = yield {first}
    yield context.wait_for_external_event("go")
    return first


@app.activity_trigger(input_name="value")
def one(value):
    return 1


@app.activity_trigger(input_name="value")
def other(value):
    return 2
"""


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ('context.call_activity("one")', ""),
        ('context.call_activity("other")', "step 1 was activity 'one' when it first ran, and is activity 'other' now"),
        (
            'context.wait_for_external_event("x")',
            "step 1 was activity 'one' when it first ran, and is not there any more",
        ),
    ],
)
async def test_code_that_changed_under_a_living_orchestration_is_found_out(serve: Serve, now: str, told: str) -> None:
    before: Served = await serve(CHANGED.replace("{first}", 'context.call_activity("one")'))
    instance_id = await before.start("changing")
    await before.until(instance_id, count(Kind.TASK_COMPLETED))
    await before.host.crash()
    after: Served = await serve(CHANGED.replace("{first}", now))

    await after.ask("POST", f"{ROOT}/instances/{instance_id}/raiseEvent/go", json=1)

    status = await after.ended(instance_id)
    assert (status["output"] == 1) if not told else (told in status["output"])


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(418)
        self.end_headers()
        self.wfile.write(b"got " + body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_call_http_gives_whatever_status_comes(served: Served, elsewhere: str) -> None:
    asked = {"method": "POST", "url": elsewhere, "content": {"a": 1}}

    assert await served.output("fetch", json.dumps(asked)) == {"status": 418, "content": 'got {"a": 1}'}


async def test_call_http_to_nobody_fails(served: Served) -> None:
    status = await served.ended(await served.start("fetch", '{"method": "GET", "url": "http://127.0.0.1:1/"}'))

    assert status["runtimeStatus"] == "Failed"
    assert "Cannot connect" in status["output"]


async def test_an_orchestrator_without_yields_returns_at_once(served: Served) -> None:
    assert await served.output("no_yields") == "at once"


async def test_functions_that_are_not_asynchronous_run_in_threads_and_know_their_name(served: Served) -> None:
    assert await served.output("place") == ["where", False]


async def test_an_output_that_is_no_json_fails_the_orchestration(served: Served) -> None:
    status = await served.ended(await served.start("bad_output"))

    assert status["runtimeStatus"] == "Failed"
    assert "not JSON serializable" in status["output"]


async def test_objects_of_the_users_own_classes_travel_as_the_sdk_sends_them(served: Served) -> None:
    assert await served.output("own_types") == 8
