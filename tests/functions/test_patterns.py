"""The programs of the Durable Functions documentation, as people write them, over real HTTP; each survives a crash."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.hosts.local.functions.history import Kind

from .conftest import ROOT, Serve


def kinds(events: list[Any]) -> list[int]:
    import json

    return [json.loads(event.data)["EventType"] for event in events]


async def test_function_chaining_is_started_over_http_with_the_official_client(serve: Serve) -> None:
    served = await serve("chaining")

    reply = await served.ask("POST", "/api/orchestrators/fulfil", json={"item": "pen", "count": 3})

    assert reply.status_code == 202
    links = reply.json()
    assert reply.headers["location"] == links["statusQueryGetUri"]
    assert links["statusQueryGetUri"].startswith(f"{served.host.url}{ROOT}/instances/{links['id']}?")
    status = await served.ended(links["id"])
    assert status["output"] == "3 x pen for 15, packed: True"
    assert status["runtimeStatus"] == "Completed"
    assert status["customStatus"] == {"priced": 15}
    assert (await served.http.get(links["statusQueryGetUri"])).json() == status


async def test_function_chaining_survives_a_crash_after_each_step(serve: Serve) -> None:
    served = await serve("chaining")
    for landed in (1, 2):
        instance_id = await served.start("fulfil", '{"item": "pen", "count": 3}')
        await served.until(instance_id, lambda seen, n=landed: kinds(seen).count(Kind.TASK_COMPLETED) >= n)
        await served.crash()

        assert (await served.ended(instance_id))["output"] == "3 x pen for 15, packed: True"


async def test_fan_out_and_fan_in_with_a_blueprint(serve: Serve) -> None:
    served = await serve("fan_out")

    reply = await served.ask("POST", "/api/count", json="20")

    assert (reply.status_code, reply.json()) == (200, {"files": 20, "bytes": 190})


async def test_fan_out_survives_a_crash_in_the_middle(serve: Serve) -> None:
    served = await serve("fan_out")
    instance_id = await served.start("backup", '"40"')
    await served.until(instance_id, lambda seen: kinds(seen).count(Kind.TASK_COMPLETED) >= 20)
    await served.crash()

    assert (await served.ended(instance_id))["output"] == {"files": 40, "bytes": 780}


async def test_a_monitor_looks_until_it_is_clear_across_a_crash(serve: Serve) -> None:
    served = await serve("monitor")
    instance_id = (await served.ask("GET", "/api/monitor/Oslo")).json()["id"]
    await served.until(instance_id, lambda seen: Kind.TIMER_CREATED in kinds(seen))
    await served.crash()

    assert (await served.ended(instance_id))["output"] == "clear"
    assert served.module.looks[-1] == "alert Oslo"


async def test_a_person_approves_across_a_crash(serve: Serve) -> None:
    served = await serve("approval")
    instance_id = (await served.ask("POST", "/api/expenses", json={"amount": 9, "seconds": 600})).json()["id"]
    await served.until(instance_id, lambda seen: Kind.TIMER_CREATED in kinds(seen))
    await served.crash()

    reply = await served.ask("POST", f"/api/expenses/{instance_id}/yes")

    assert reply.status_code == 202
    # The official client sends its data as JSON text in a JSON string.
    assert (await served.ended(instance_id))["output"] == 'said "yes"'


async def test_where_nobody_approves_it_is_escalated(serve: Serve) -> None:
    served = await serve("approval")
    instance_id = (await served.ask("POST", "/api/expenses", json={"amount": 9, "seconds": 0.1})).json()["id"]

    assert (await served.ended(instance_id))["output"] == "escalated 9"


@pytest.mark.parametrize(("codes", "proven"), [([5], True), ([1, 2, 5], True), ([1, 2, 3], False)])
async def test_a_person_has_three_tries_in_the_time_of_one_timer_across_a_crash(
    serve: Serve, codes: list[int], proven: bool
) -> None:
    served = await serve("challenge")
    instance_id = (await served.ask("GET", "/api/prove/12345")).json()["id"]
    await served.until(instance_id, lambda seen: Kind.TIMER_CREATED in kinds(seen))
    await served.crash()
    for tries, code in enumerate(codes, 1):
        sent = await served.ask("POST", f"{ROOT}/instances/{instance_id}/raiseEvent/Code", json=code)
        assert sent.status_code == 202
        await served.until(instance_id, lambda seen, n=tries: kinds(seen).count(Kind.EVENT_RAISED) >= n)

    assert (await served.ended(instance_id))["output"] is proven


async def test_a_plain_function_app_with_a_blueprint_is_served(serve: Serve) -> None:
    served = await serve("challenge")

    assert (await served.ask("GET", "/api/hello?name=Ann")).text == "Hello, Ann."


async def test_a_function_that_is_not_served_here_is_named_with_the_reason(serve: Serve) -> None:
    served = await serve("challenge")
    ended = await served.ended(await served.start("text_it"))

    assert ended["runtimeStatus"] == "Failed"
    assert "'send_text' is not served on this host: it has activityTrigger with twilioSms" in ended["output"]


async def test_a_counter_is_signalled_read_and_called(serve: Serve) -> None:
    served = await serve("counter")
    assert (await served.ask("GET", "/api/counters/a")).json() == {"exists": False, "value": None}
    for amount in (4, 5):
        assert (await served.ask("POST", f"/api/counters/a/{amount}")).status_code == 202

    seen = await served.output("tally", '"a"')

    assert seen == [15, "integer division or modulo by zero"]
    # Its last signal was delivered before the orchestration ended.
    assert (await served.ask("GET", "/api/counters/a")).json() == {"exists": True, "value": 25}


async def test_a_counter_survives_a_crash_and_counts_nothing_twice(serve: Serve) -> None:
    served = await serve("counter")
    ids = [await served.start("tally", f'"k{number}"') for number in range(10)]
    await served.crash()
    for number, instance_id in enumerate(ids):
        assert (await served.ended(instance_id))["output"][0] == 6
        assert (await served.ask("GET", f"/api/counters/k{number}")).json()["value"] == 16
