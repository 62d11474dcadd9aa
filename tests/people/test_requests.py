from __future__ import annotations

import asyncio
import datetime
import itertools
import json
from typing import Any, Literal

import httpx
import pytest
from agent_framework import Message
from tests.people import desk, programs

REFUSED: list[tuple[Any, str, str]] = [
    (programs.Verdict, "{}", "approved"),
    (programs.Verdict, '{"approved": "perhaps"}', "/approved"),
    (programs.Verdict, '{"approved": true, "limit": -1}', "/limit"),
    (programs.Verdict, "[true]", ""),
    (programs.Verdict, "null", ""),
    (int, '"123"', ""),
    (int, "1.5", ""),
    (bool, '"yes"', ""),
    (bool, "1", ""),
    (Literal["yes", "no"], '"maybe"', ""),
]
FITTING: dict[Any, Any] = {programs.Verdict: {"approved": True}, int: 5, bool: True, Literal["yes", "no"]: "yes"}


async def test_a_pending_request_shows_its_data_as_plain_json_fields_with_a_schema_of_the_answer() -> None:
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        (asked,) = await (at := await start(1)).parked(1)

    assert asked["requestData"] == {"number": 1, "lines": [{"article": "pencil", "pieces": 1}], "note": None}
    module = programs.__name__
    assert (asked["requestType"], asked["responseType"]) == (f"{module}:Purchase", f"{module}:Verdict")
    assert asked["sourceExecutor"] == "buyer"
    assert asked["responseSchema"]["required"] == ["approved"]
    assert asked["responseSchema"]["properties"]["approved"]["type"] == "boolean"
    assert asked["responseSchema"]["properties"]["limit"]["minimum"] == 0
    assert asked["respondUrl"].endswith(f"/api/workflow/workflow/respond/{at.run}/{asked['requestId']}")


async def test_the_respond_url_of_a_request_takes_its_answer() -> None:
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        (asked,) = await (at := await start(1)).parked(1)
        answer = await at.client.post(asked["respondUrl"], json={"approved": True})
        output = await at.output()

    assert answer.status_code == 200
    assert answer.json() == {
        "message": "Response delivered successfully", "instanceId": at.run, "requestId": asked["requestId"],
    }  # fmt: skip
    assert output == ["1:True:0"]


async def test_a_request_is_announced_when_it_is_made_while_other_branches_go_on() -> None:
    gate = asyncio.Event()
    async with desk.hosted(desk.app_of(lambda: programs.beside(gate))) as start:
        at = await start(1)
        (asked,) = await at.asked(1)
        running = await at.status()
        await at.say(asked["requestId"], {"approved": True})
        early = await at.status()
        gate.set()
        output = await at.output()

    assert running["runtimeStatus"] == "Running" and running["customStatus"]["state"] == "running"
    assert "pendingHumanInputRequests" not in early and early["runtimeStatus"] == "Running"
    assert output == ["gate open", "1:True:0"]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
async def test_requests_are_answered_in_any_order_each_processed_when_it_comes(order: tuple[int, ...]) -> None:
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        at = await start(3)
        pending = await at.parked(1)
        left = [1, 2, 3]
        heard: list[dict[str, Any]] = []
        for answered, number in enumerate(order, 1):
            await at.say(desk.by_data(pending, number=number), {"approved": True, "limit": number})
            left.remove(number)
            heard = await at.happened("output", answered)
            if left:
                assert [asked["requestData"]["number"] for asked in await at.parked(answered + 1)] == left
        output = await at.output()

    assert heard[-1]["data"] == output[-1] == " ".join(f"{number}:True:{number}" for number in order)


@pytest.mark.parametrize("crash", [True, False])
async def test_the_pending_list_is_right_after_a_restart(crash: bool) -> None:
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        at = await start(3)
        before = await at.parked(1)
        await at.again(crash=crash)
        assert [asked["requestId"] for asked in await at.pending()] == [asked["requestId"] for asked in before]
        for answered, number in enumerate((2, 3, 1), 1):
            await at.say(desk.by_data(before, number=number), {"approved": False})
            await at.again(crash=crash)
            if answered < 3:
                await at.parked(answered + 1)
            assert len(await at.pending()) == 3 - answered
        output = await at.output()

    assert output == ["2:False:0", "2:False:0 3:False:0", "2:False:0 3:False:0 1:False:0"]


async def test_an_answer_accepted_with_200_just_before_a_crash_is_never_lost() -> None:
    for _ in range(5):
        async with desk.hosted(desk.app_of(programs.buying())) as start:
            at = await start(2)
            first, second = await at.parked(1)
            await at.say(first["requestId"], {"approved": True})
            await at.again()
            again = await at.answer(first["requestId"], {"approved": False})
            await at.say(second["requestId"], {"approved": True})
            await at.again()
            output = await at.output()

        assert again.status_code == 409
        assert output[-1] == "1:True:0 2:True:0"


async def test_a_request_made_by_a_step_that_ran_again_after_a_crash_has_the_same_id() -> None:
    gate = asyncio.Event()
    ids: asyncio.Queue[str] = asyncio.Queue()

    async with desk.hosted(desk.app_of(lambda: programs.mailing(gate, ids))) as start:
        at = await start(1)
        mailed = await ids.get()
        await at.again()
        gate.set()
        (asked,) = await at.parked(1)
        await at.say(mailed, {"approved": True})
        output = await at.output()

    assert mailed == asked["requestId"] == ids.get_nowait()
    assert output == ["mailed: True"]


@pytest.mark.parametrize(("kind", "body", "where"), REFUSED)
async def test_a_wrong_answer_is_refused_with_the_reason_and_consumes_nothing(kind: Any, body: str, where: str) -> None:
    async with desk.hosted(desk.app_of(programs.asking(kind))) as start:
        at = await start("well?")
        (asked,) = before = await at.parked(1)
        answer = await at.answer(asked["requestId"], content=body, headers={"content-type": "application/json"})
        after = await at.pending()
        events = await at.host.runs.events(at.run)
        await at.say(asked["requestId"], FITTING[kind])
        await at.output()

    assert answer.status_code == 422
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert where in json.dumps(problem["errors"])
    assert problem["error"]
    assert after == before
    assert "response" not in [event.type for event in events]


@pytest.mark.parametrize(
    ("kind", "content", "content_type", "heard"),
    [
        (str, b'"123"', "application/json", "str '123'"),
        (str, b"123", "application/json", "str '123'"),
        (str, b"123", "text/plain", "str '123'"),
        (str, b'{"a": 1}', "application/json", "str '{\"a\": 1}'"),
        (int, b"123", "application/json", "int 123"),
        (bool, b"true", "application/json", "bool True"),
        (str | None, b'"123"', "application/json", "str '123'"),
        (str | int, b'"123"', "application/json", "str '123'"),
        (str | None, b"null", "application/json", "NoneType None"),
        (list[int], b"[1, 2]", "application/json", "list [1, 2]"),
        (dict[str, float], b'{"a": 1.5}', "application/json", "dict {'a': 1.5}"),
        (datetime.date, b'"2026-02-03"', "application/json", "date datetime.date(2026, 2, 3)"),
        (Literal["yes", "no"], b'"no"', "application/json", "str 'no'"),
        (str | int, b"123", "application/json", "int 123"),
    ],
)
async def test_an_answer_is_of_the_type_asked_for_and_a_text_of_digits_stays_text(
    kind: Any, content: bytes, content_type: str, heard: str
) -> None:
    async with desk.hosted(desk.app_of(programs.asking(kind))) as start:
        at = await start("well?")
        (asked,) = await at.parked(1)
        headers = {"content-type": content_type} if content_type else {}
        await at.say(asked["requestId"], content=content, headers=headers)
        output = await at.output()

    assert output == [heard]


@pytest.mark.parametrize("kind", [list[Message], Message])
@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"I want it back", "text/plain"),
        (b'"I want it back"', "application/json"),
        (b'{"role": "user", "contents": [{"type": "text", "text": "I want it back"}]}', "application/json"),
    ],
)
async def test_where_messages_are_asked_for_a_text_is_what_the_user_says(
    kind: Any, content: bytes, content_type: str
) -> None:
    """As ``HandoffAgentUserRequest.create_response`` takes it."""
    if kind is not Message and content.startswith(b"{"):
        content = b"[" + content + b"]"
    async with desk.hosted(desk.app_of(programs.told(kind))) as start:
        at = await start("well?")
        (asked,) = await at.parked(1)
        await at.again()
        await at.say(asked["requestId"], content=content, headers={"content-type": content_type})
        output = await at.output()

    assert output == ["user: I want it back"]
    message = asked["responseSchema"] if kind is Message else asked["responseSchema"]["items"]
    assert kind is Message or asked["responseSchema"]["type"] == "array"
    assert message["required"] == ["role", "contents"]


async def test_what_cannot_be_answered_says_why() -> None:
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        at, other = await start(1), await start(1, "other")
        (asked,) = await at.parked(1)
        (foreign,) = await other.parked(1)
        request = asked["requestId"]
        unknown = await at.answer("no-such", {"approved": True})
        of_another = await at.answer(foreign["requestId"], {"approved": True})
        empty = await at.answer(request, content=b"")
        unquoted = await at.answer(request, content=b"yes")
        no_json = await at.answer(request, content=b"{approved", headers={"content-type": "application/json"})
        no_run = await desk.Desk(at.host, at.client, "nobody", at.workflow).answer(request, {"approved": True})
        no_workflow = await desk.Desk(at.host, at.client, at.run, "nobody").answer(request, {"approved": True})
        await at.say(request, {"approved": True})
        await at.output()
        late = await at.answer(request, {"approved": True})

    assert [answer.status_code for answer in (unknown, of_another, no_run, no_workflow)] == [404] * 4
    assert [answer.status_code for answer in (empty, unquoted, no_json)] == [400] * 3
    assert late.status_code == 409
    assert "not open any more" in late.json()["error"]


async def test_an_answer_to_a_terminated_run_is_refused() -> None:
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        at = await start(1)
        (asked,) = await at.parked(1)
        await at.host.runs.terminate(at.run, "enough")
        late = await at.answer(asked["requestId"], {"approved": True})
        status = await at.status()

    assert late.status_code == 409
    assert "pendingHumanInputRequests" not in status


@pytest.mark.parametrize("size", [0, 2000])
async def test_fifty_answers_at_once_to_one_request_are_one(size: int) -> None:
    """A large answer is stored before it is taken: all of them see the request open, and one is taken."""
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        at = await start(2)
        first, _ = await at.parked(1)
        answers = await asyncio.gather(
            *(
                at.answer(first["requestId"], {"approved": True, "limit": number, "reason": "r" * size})
                for number in range(50)
            )
        )
        (heard,) = await at.happened("output")
        await at.parked(2)
        responses = [event for event in await at.host.runs.events(at.run) if event.type == "response"]

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [409] * 49
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    assert heard["data"] == f"1:True:{winner}"
    assert len(responses) == 1


@pytest.mark.embedded
async def test_two_thousand_parked_runs_leave_memory_and_each_is_answered() -> None:
    count = 2000
    async with desk.hosted(desk.app_of(programs.buying())) as start:
        desks = await asyncio.gather(*(start(1, f"r{number}") for number in range(count)))
        for at in desks:
            await at.happened("parked")
        assert not desks[0].host.engine._core.live
        assert not any(bound.activities._live for bound in desks[0].host.bounds.values())
        await desks[0].again()
        for at in (desks[0], desks[count // 2], desks[-1]):
            (asked,) = await at.pending()
            await at.say(asked["requestId"], {"approved": True})
            assert await at.output() == ["1:True:0"]


async def test_a_url_with_an_encoded_request_id_finds_it() -> None:
    async with desk.hosted(desk.app_of(programs.named("a b/c~d?"))) as start:
        at = await start(1)
        (asked,) = await at.parked(1)
        answer: httpx.Response = await at.client.post(asked["respondUrl"], json=True)
        output = await at.output()

    assert asked["requestId"] == "a b/c~d?"
    assert answer.status_code == 200
    assert output == ["named: True"]
