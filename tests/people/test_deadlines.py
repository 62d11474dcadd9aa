from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_framework import Workflow
from tests.people import desk, nested, programs, test_agents

from perdure import Deadline, Expired
from perdure.engine import instance

NO = programs.Verdict(approved=False, reason="nobody was there")
SOON = 0.05


@pytest.mark.embedded
async def test_a_request_that_nobody_answers_gets_its_default_answer() -> None:
    async with desk.hosted(desk.app_of(programs.buying(), deadlines=Deadline(SOON, answer=NO))) as start:
        at = await start(2)
        output = await at.output()
        events = await at.host.runs.events(at.run)

    assert output == ["1:False:0", "1:False:0 2:False:0"]
    responses = [event.data for event in events if event.type == "response"]
    assert [response["by"] for response in responses] == ["deadline"] * 2
    assert responses[0]["data"] == {"approved": False, "limit": 0, "reason": "nobody was there"}
    assert sum(event.type == "request_expired" for event in events) == 2


async def test_a_deadline_is_shown_and_passes_while_the_host_is_down() -> None:
    app = desk.app_of(programs.buying(), deadlines={"Purchase": Deadline(0.5, answer=NO)})
    async with desk.hosted(app) as start:
        at = await start(1)
        (asked,) = await at.parked(1)
        await at.host.crash()
        await asyncio.sleep(0.5)  # the deadline itself, with nobody there to see it pass
        await at.host.restart()
        output = await at.output()

    assert asked["deadline"].endswith("Z")
    assert output == ["1:False:0"]


async def test_an_answer_in_time_stops_the_clock() -> None:
    async with desk.hosted(desk.app_of(programs.buying(), deadlines=Deadline(3600, answer=NO))) as start:
        at = await start(1)
        (asked,) = await at.parked(1)
        await at.again()
        await at.say(asked["requestId"], {"approved": True})
        output = await at.output()

    assert output == ["1:True:0"]


async def test_a_request_without_a_deadline_of_its_own_waits_for_ever() -> None:
    app = desk.app_of(programs.buying(), deadlines={"somebody-else": Deadline(0, answer=NO)})
    async with desk.hosted(app) as start:
        (asked,) = await (await start(1)).parked(1)

    assert "deadline" not in asked


async def test_an_escalation_is_told_of_the_request_and_what_it_gives_is_the_answer() -> None:
    told: list[Expired] = []

    async def escalate(expired: Expired) -> programs.Verdict:
        told.append(expired)
        return programs.Verdict(approved=True, limit=7)

    async with desk.hosted(desk.app_of(programs.buying(), deadlines=Deadline(SOON, escalate=escalate))) as start:
        at = await start(1)
        (asked,) = await at.happened("request_info")
        output = await at.output()

    assert output == ["1:True:7"]
    expected = Expired(at.run, asked["requestId"], "buyer", programs.Purchase(1, [programs.Line("pencil", 1)]))
    assert told == [expected]


async def test_an_escalation_that_gives_nothing_leaves_the_request_to_whoever_was_told() -> None:
    async with desk.hosted(desk.app_of(programs.buying(), deadlines=Deadline(SOON, escalate=lambda _: None))) as start:
        at = await start(1)
        (expired,) = await at.happened("request_expired")
        await at.again()
        (asked,) = await at.pending()
        await at.say(asked["requestId"], {"approved": True})
        output = await at.output()

    assert expired["requestId"] == asked["requestId"]
    assert output == ["1:True:0"]


async def test_an_escalation_that_raises_is_a_warning_and_the_request_stays_open() -> None:
    def escalate(_: Expired) -> Any:
        raise RuntimeError("no mail today")

    async with desk.hosted(desk.app_of(programs.buying(), deadlines=Deadline(SOON, escalate=escalate))) as start:
        at = await start(1)
        (warning,) = await at.happened("warning")
        (asked,) = await at.pending()
        await at.say(asked["requestId"], {"approved": True})
        await at.output()

    assert warning["code"] == "deadline" and "no mail today" in warning["data"]


async def test_an_escalation_that_was_out_when_the_host_died_is_run_again() -> None:
    begun = asyncio.Event()
    hold = asyncio.Event()
    told: list[str] = []

    async def escalate(expired: Expired) -> programs.Verdict:
        told.append(expired.request_id)
        begun.set()
        await hold.wait()
        return NO

    async with desk.hosted(desk.app_of(programs.buying(), deadlines=Deadline(SOON, escalate=escalate))) as start:
        at = await start(1)
        await begun.wait()
        await at.host.crash()
        hold.set()
        await at.host.restart()
        output = await at.output()

    assert len(told) == 2 and len(set(told)) == 1
    assert output == ["1:False:0"]


@pytest.mark.parametrize(
    ("build", "value", "key"),
    [(lambda: nested.publishing(2), "hello", "level1"), (lambda: nested.publishing(1), "hello", "Draft")],
)
async def test_a_request_of_a_sub_workflow_has_a_deadline_too(build: Any, value: str, key: str) -> None:
    workflow: Workflow = build()
    yes = Deadline(SOON, answer=programs.Verdict(approved=True))
    async with desk.hosted(desk.app_of(workflow, deadlines={key: yes})) as start:
        output = await (await start(value)).output()

    assert output == ["published: hello (version 1 of 1)"]


async def test_a_tool_approval_that_nobody_gives_is_refused_by_default() -> None:
    till = test_agents.Till()
    async with desk.hosted(desk.app_of(test_agents.clerk(till, 5), deadlines=Deadline(SOON, answer=False))) as start:
        at = await start("pay")
        await at.output()

    assert till.paid == []


def test_a_deadline_says_one_thing() -> None:
    with pytest.raises(ValueError, match="either"):
        Deadline(1)
    with pytest.raises(ValueError, match="either"):
        Deadline(1, answer=None, escalate=lambda _: None)
    with pytest.raises(ValueError, match="negative"):
        Deadline(-1, answer=None)


async def test_a_deadline_passes_in_a_long_run_that_was_resumed_from_a_kept_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instance, "STAY_FOR_TIMER_SECONDS", 0.0)
    yes = Deadline(1.5, answer=programs.Verdict(approved=True))
    async with desk.hosted(desk.app_of(nested.beside(), deadlines={"Draft": yes})) as start:
        at = await start("hello")
        (before,) = await at.parked(1)
        assert at.host.engine._readers.rows("select_kept", (1,)), "the run kept no state: it is too short"
        await at.again()
        (after,) = await at.pending()
        output = await at.output()

    assert after["deadline"] == before["deadline"]
    assert output == ["steady: hello", "published: hello (version 1 of 1)"]
