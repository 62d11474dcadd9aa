"""The management API as the official client speaks it, and as it is over the wire."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]
import pytest

from perdure.hosts.local.functions.history import Kind

from .conftest import ROOT, Serve, Served
from .test_orchestrators import count

Status = df.OrchestrationRuntimeStatus
INSTANCES = f"{ROOT}/instances"


@pytest.fixture
async def served(serve: Serve) -> Served:
    hosted: Served = await serve("language")
    return hosted


@pytest.fixture
async def client(served: Served) -> Any:
    return df.DurableOrchestrationClient(await served.host.functions.client())


async def test_the_official_client_starts_and_sees_an_orchestration(served: Served, client: Any) -> None:
    instance_id = await client.start_new("child", "mine", 4)

    assert instance_id == "mine"
    await served.ended("mine")
    status = await client.get_status("mine", show_input=True)
    assert (status.name, status.instance_id, status.runtime_status) == ("child", "mine", Status.Completed)
    assert (status.input_, status.output) == ("4", {"doubled": 8, "parent": None})
    assert abs(status.created_time.timestamp() - time.time()) < 60
    assert not await client.get_status("nobody's")


async def test_an_unknown_orchestrator_is_an_error_that_names_those_there_are(client: Any) -> None:
    with pytest.raises(Exception, match=r"'nothing' doesn't exist.*known orchestrator functions: .*'eternal'"):
        await client.start_new("nothing")


async def test_an_id_that_cannot_be_used_is_refused(client: Any, served: Served) -> None:
    with pytest.raises(Exception, match="must not start with @"):
        await client.start_new("child", "@x")
    reply = await served.ask("POST", f"{ROOT}/orchestrators/child/{'x' * 101}")
    assert (reply.status_code, reply.json()["ExceptionMessage"]) == (
        400,
        "Instance ID lengths must not exceed 100 characters.",
    )


async def test_an_ended_instance_is_replaced_by_a_start_and_a_living_one_is_not(served: Served, client: Any) -> None:
    for value in (1, 2):
        await client.start_new("child", "again", value)
        assert (await served.ended("again"))["output"]["doubled"] == 2 * value
    await client.start_new("listening", "lives")
    with pytest.raises(Exception, match="status Running already exists"):
        await client.start_new("listening", "lives")


async def test_the_client_raises_events(served: Served, client: Any) -> None:
    await client.start_new("listening", "l")
    await client.raise_event("l", "word", "hello")
    await served.ask("POST", f"{INSTANCES}/l/raiseEvent/word", json="stop")

    # The official client sends JSON text in a JSON string.
    assert (await served.ended("l"))["output"] == ['"hello"']


@pytest.mark.parametrize("operation", ["raiseEvent/word", "terminate", "suspend", "resume", "rewind"])
async def test_operations_on_nobody_are_404_and_on_the_ended_410(served: Served, operation: str) -> None:
    instance_id = await served.start("no_yields")
    await served.ended(instance_id)

    assert (await served.ask("POST", f"{INSTANCES}/nobody/{operation}", json=1)).status_code == 404
    assert (await served.ask("POST", f"{INSTANCES}/{instance_id}/{operation}", json=1)).status_code == 410


async def test_an_event_must_be_json(served: Served) -> None:
    instance_id = await served.start("listening")
    url = f"{INSTANCES}/{instance_id}/raiseEvent/word"

    text = await served.ask("POST", url, content="hello", headers={"content-type": "text/plain"})
    broken = await served.ask("POST", url, content="{", headers={"content-type": "application/json"})

    assert (text.status_code, text.json()["Message"]) == (400, "Only application/json request content is supported")
    assert (broken.status_code, broken.json()["Message"]) == (400, "Invalid JSON content")


async def test_the_client_terminates(served: Served, client: Any) -> None:
    await client.start_new("listening", "t")
    await client.terminate("t", "enough of it")

    status = await client.get_status("t", show_history=True)
    assert (status.runtime_status, status.output) == (Status.Terminated, "enough of it")
    assert (await served.status("t", showHistory=True))["historyEvents"][-1]["EventType"] == "ExecutionTerminated"
    await client.terminate("t", "again")


async def test_a_suspended_orchestration_takes_nothing_until_it_is_resumed(served: Served, client: Any) -> None:
    await client.start_new("listening", "s")
    await client.suspend("s", "wait")
    await served.until("s", count(Kind.SUSPENDED))
    assert (await client.get_status("s")).runtime_status == Status.Suspended
    for word in ("one", "stop"):
        await served.ask("POST", f"{INSTANCES}/s/raiseEvent/word", json=word)
    await served.crash()
    assert (await served.status("s"))["runtimeStatus"] == "Suspended"
    assert [
        each["instanceId"] for each in (await served.ask("GET", f"{INSTANCES}?runtimeStatus=Suspended")).json()
    ] == ["s"]

    await df.DurableOrchestrationClient(await served.host.functions.client()).resume("s", "go on")

    assert (await served.ended("s"))["output"] == ["one"]


async def test_the_client_purges(served: Served, client: Any) -> None:
    await client.start_new("no_yields", "p")
    await served.ended("p")
    await client.start_new("listening", "q")

    assert (await client.purge_instance_history("p")).instances_deleted == 1
    assert (await client.purge_instance_history("p")).instances_deleted == 0
    assert (await client.purge_instance_history("q")).instances_deleted == 0, "it has not ended"
    assert not await client.get_status("p")


async def test_the_client_purges_many(served: Served, client: Any) -> None:
    for number in range(3):
        await client.start_new("no_yields", f"p{number}")
        await served.ended(f"p{number}")
    await client.start_new("fails", "failed")
    await served.ended("failed")
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)

    purged = await client.purge_instance_history_by(since, None, [Status.Completed])

    assert purged.instances_deleted == 3
    assert [each.instance_id for each in await client.get_status_all()] == ["failed"]


async def test_the_client_lists_with_filters(served: Served, client: Any) -> None:
    for name, instance_id in (("no_yields", "a-1"), ("fails", "a-2"), ("no_yields", "b-1")):
        await client.start_new(name, instance_id)
        await served.ended(instance_id)
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)

    async def ids(**filters: Any) -> set[str]:
        return {each.instance_id for each in await client.get_status_by(**filters)}

    assert {each.instance_id for each in await client.get_status_all()} == {"a-1", "a-2", "b-1"}
    assert await ids(instance_id_prefix="a-") == {"a-1", "a-2"}
    assert await ids(runtime_status=[Status.Failed]) == {"a-2"}
    assert await ids(created_time_from=now - hour, created_time_to=now + hour) == {"a-1", "a-2", "b-1"}
    assert await ids(created_time_from=now + hour) == set()


async def test_a_list_has_pages(served: Served) -> None:
    for number in range(5):
        await served.ended(await served.start("no_yields", instance_id=f"i{number}"))
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = await served.ask(
            "GET", f"{INSTANCES}?top=2", headers={"x-ms-continuation-token": token} if token else {}
        )
        seen += [each["instanceId"] for each in page.json()]
        token = page.headers["x-ms-continuation-token"]

    assert token == ""
    assert sorted(seen) == [f"i{number}" for number in range(5)]


async def test_a_continuation_token_that_no_list_gave_is_refused(served: Served) -> None:
    answer = await served.ask("GET", f"{INSTANCES}?top=2", headers={"x-ms-continuation-token": "made up"})

    assert answer.status_code == 400
    assert "x-ms-continuation-token" in answer.json()["Message"]


async def test_the_client_restarts_with_the_same_input(served: Served, client: Any) -> None:
    await client.start_new("child", "r", 21)
    await served.ended("r")

    answer = await client.restart("r")

    fresh = answer["id"] if isinstance(answer, dict) else answer
    assert fresh != "r"
    assert (await served.ended(fresh))["output"]["doubled"] == 42
    assert (await client.restart("r", False))["id"] == "r"
    with pytest.raises(Exception, match="unexpected status code 400"):
        await client.restart("nobody")


async def test_waiting_for_the_end_answers_with_the_output(served: Served) -> None:
    url = f"{ROOT}/orchestrators/%s?timeout=20&pollingInterval=1"

    done = await served.ask("POST", url % "child", json="2")
    failed = await served.ask("POST", url % "fails")
    busy = await served.ask("POST", (url % "listening").replace("20", "0.05"))

    assert (done.status_code, done.json()) == (200, {"doubled": 4, "parent": None})
    assert (failed.status_code, failed.json()["runtimeStatus"]) == (200, "Failed")
    assert busy.status_code == 202


async def test_the_status_while_it_runs_says_where_and_when_to_ask_again(served: Served) -> None:
    instance_id = await served.start("listening")

    reply = await served.ask("GET", f"{INSTANCES}/{instance_id}?showInput=false")

    assert reply.status_code == 202
    assert reply.headers["retry-after"] == "5"
    assert reply.headers["location"] == f"{served.host.url}{INSTANCES}/{instance_id}?showInput=false"
    assert list(reply.json()) == [
        "name",
        "instanceId",
        "runtimeStatus",
        "input",
        "customStatus",
        "output",
        "createdTime",
        "lastUpdatedTime",
    ]


async def test_a_failure_is_500_only_if_asked_for(served: Served) -> None:
    instance_id = await served.start("fails")
    await served.ended(instance_id)
    url = f"{INSTANCES}/{instance_id}"

    assert (await served.ask("GET", url)).status_code == 200
    assert (await served.ask("GET", f"{url}?returnInternalServerErrorOnFailure=true")).status_code == 500


async def test_a_history_joins_what_was_scheduled_with_what_came_of_it(served: Served) -> None:
    instance_id = await served.start("child", "3")
    await served.ended(instance_id)

    with_all = await served.status(instance_id, showHistory="true", showHistoryOutput="true")
    without = await served.status(instance_id, showHistory="true", showInput="false")

    started, task, end = with_all["historyEvents"]
    assert (started["EventType"], started["FunctionName"]) == ("ExecutionStarted", "child")
    assert (task["EventType"], task["FunctionName"], task["Result"]) == ("TaskCompleted", "echo", 6)
    assert task["ScheduledTime"] <= task["Timestamp"]
    assert (end["EventType"], end["OrchestrationStatus"]) == ("ExecutionCompleted", "Completed")
    assert without["input"] is None
    assert all("Result" not in event and "Input" not in event for event in without["historyEvents"])


async def test_entities_are_listed_read_signalled_and_deleted(serve: Serve) -> None:
    served: Served = await serve("counter")
    client = df.DurableOrchestrationClient(await served.host.functions.client())
    for key in ("a", "b"):
        await client.signal_entity(df.EntityId("Counter", key), "add", 2)
    await served.output("tally", '"a"')
    await served.output("tally", '"b"')

    listed = (await served.ask("GET", f"{ROOT}/entities/counter?fetchState=true")).json()
    assert [(each["entityId"], each["state"]) for each in listed] == [
        ({"name": "counter", "key": "a"}, 18),
        ({"name": "counter", "key": "b"}, 18),
    ]
    assert (await served.ask("GET", f"{ROOT}/entities/counter/a")).json() == 18
    assert (await served.ask("DELETE", f"{ROOT}/entities/counter/a")).status_code == 202
    await served.output("tally", '"a"')
    assert (await client.read_entity_state(df.EntityId("counter", "a"))).entity_state == 16
    assert not (await client.read_entity_state(df.EntityId("counter", "never"))).entity_exists
    assert (await served.ask("POST", f"{ROOT}/entities/nothing/a?op=add", json=1)).status_code == 400


async def test_signals_that_were_accepted_before_a_crash_are_delivered_once(serve: Serve) -> None:
    served: Served = await serve("counter")
    client = df.DurableOrchestrationClient(await served.host.functions.client())
    for _ in range(20):
        await client.signal_entity(df.EntityId("Counter", "k"), "add", 1)
    await served.crash()

    # A call stands in line behind the signals.
    assert (await served.output("tally", '"k"'))[0] == 26


async def test_what_is_not_of_the_api_is_404(served: Served) -> None:
    for method, path in (
        ("GET", ROOT),
        ("GET", f"{ROOT}/nothing"),
        ("PUT", INSTANCES),
        ("GET", f"{ROOT}/orchestrators/child"),
        ("POST", f"{INSTANCES}/a/explode"),
    ):
        assert (await served.ask(method, path)).status_code == 404, path


async def test_bodies_that_are_not_json_are_refused(served: Served) -> None:
    reply = await served.ask("POST", f"{ROOT}/orchestrators/child", content="{")

    assert (reply.status_code, json.loads(reply.text)["Message"]) == (400, "Invalid JSON content")
