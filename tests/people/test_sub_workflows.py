from __future__ import annotations

from collections.abc import Callable

import pytest
from agent_framework import Workflow
from tests.people import desk, nested, programs

from perdure.payloads import owners

YES = {"approved": True}
NO = {"approved": False}


async def answered_in_process(workflow: Workflow, text: str, *verdicts: bool) -> list[str]:
    """Answer the newest request with each verdict in turn; gives all outputs."""
    result = await workflow.run(text)
    outputs = list(result.get_outputs())
    open_ids = [event.request_id for event in result.get_request_info_events()]
    for approved in verdicts:
        result = await workflow.run(responses={open_ids.pop(): programs.Verdict(approved=approved)})
        outputs += result.get_outputs()
        open_ids += [event.request_id for event in result.get_request_info_events()]
    return outputs


@pytest.mark.parametrize("levels", [1, 2, 3])
async def test_a_request_of_a_sub_workflow_surfaces_on_the_run_with_the_hops_in_its_id(levels: int) -> None:
    programs.MAILED.clear()
    async with desk.hosted(desk.app_of(nested.publishing(levels))) as start:
        at = await start("hello")
        (asked,) = await at.parked(1)
        hops = "".join(f"level{level}~0~" for level in range(1, levels + 1))
        answer = await at.client.post(asked["respondUrl"], json=YES)
        output = await at.output()

    assert asked["requestId"].startswith(hops) and asked["requestId"].count("~") == 2 * levels
    assert asked["requestData"] == {"text": "hello", "version": 1}
    assert (asked["sourceExecutor"], asked["responseType"]) == ("level1", f"{programs.__name__}:Verdict")
    assert asked["responseSchema"]["required"] == ["approved"]
    assert [asked["respondUrl"]] == programs.MAILED
    assert answer.status_code == 200
    assert output == ["published: hello (version 1 of 1)"]


@pytest.mark.parametrize("levels", [1, 3])
async def test_one_child_keeps_its_state_between_inputs_and_answers_also_after_crashes(levels: int) -> None:
    expected = await answered_in_process(nested.publishing(levels), "a|b", False, False, True, True)
    async with desk.hosted(desk.app_of(nested.publishing(levels))) as start:
        at = await start("a|b")
        for parked, verdict in enumerate((NO, NO, YES, YES), 1):
            pending = await at.parked(parked)
            await at.again()
            await at.say(pending[-1]["requestId"], verdict)
        output = await at.output()

    assert output == expected
    assert output[0] == "published: b, better, better (version 4 of 4)"


async def test_a_wrong_answer_to_a_sub_workflow_is_refused_and_the_request_stays_open() -> None:
    async with desk.hosted(desk.app_of(nested.publishing(2))) as start:
        at = await start("hello")
        (asked,) = await at.parked(1)
        answer = await at.answer(asked["requestId"], {"approved": "perhaps"})
        bare = await at.answer(asked["requestId"].rpartition("~")[2], YES)
        (still,) = await at.pending()

    assert (answer.status_code, bare.status_code) == (422, 404)
    assert still == asked


async def test_requests_that_the_parent_intercepts_do_not_surface() -> None:
    async with desk.hosted(desk.app_of(nested.intercepted())) as start:
        at = await start("short|a longer text")
        (asked,) = await at.parked(1)
        await at.again()
        await at.say(asked["requestId"], True)
        output = await at.output()

    assert asked["sourceExecutor"] == "editor"
    assert "~" not in asked["requestId"]
    assert output == ["published: short (version 1 of 2)", "published: a longer text (version 2 of 2)"]


@pytest.mark.parametrize("levels", [1, 2])
async def test_a_sub_workflow_that_fails_fails_its_parent_with_the_reason(levels: int) -> None:
    with pytest.raises(ValueError, match="the ink is dry"):
        await nested.publishing(levels).run("fail")
    async with desk.hosted(desk.app_of(nested.publishing(levels))) as start:
        at = await start("fail")
        run = await at.host.runs.wait(at.run, desk.PATIENCE_SECONDS)

    assert run is not None and run.status == "Failed"
    assert run.failure is not None and (run.failure.type, run.failure.message) == ("ValueError", "the ink is dry")


@pytest.mark.parametrize("build", [nested.publishing, lambda: nested.publishing(2)], ids=["template", "factory"])
async def test_children_of_two_runs_know_nothing_of_each_other(build: Callable[[], Workflow]) -> None:
    async with desk.hosted(desk.app_of(build)) as start:
        desks = [await start(f"text {number}", f"r{number}") for number in range(4)]
        for at in desks:
            (asked,) = await at.parked(1)
            assert asked["requestData"]["version"] == 1
            await at.say(asked["requestId"], YES)
        outputs = [await at.output() for at in desks]

    assert outputs == [[f"published: text {number} (version 1 of 1)"] for number in range(4)]


async def test_a_request_of_a_child_step_that_ran_again_after_a_crash_has_the_same_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two hosts do the steps of one run: also where it is told apart from others that its id is given to.
    monkeypatch.setattr(owners, "new_incarnation", lambda: "one")
    ids = []
    for _ in range(2):
        async with desk.hosted(desk.app_of(nested.publishing(2))) as start:
            (asked,) = await (await start("hello", "same")).parked(1)
            ids.append(asked["requestId"])

    assert ids[0] == ids[1]


async def test_a_waiting_sub_workflow_holds_up_nothing_beside_it() -> None:
    async with desk.hosted(desk.app_of(nested.beside)) as start:
        at = await start("hello")
        await at.happened("output", executor="steady")
        (asked,) = await at.parked(1)
        await at.say(asked["requestId"], YES)
        output = await at.output()

    assert output == ["steady: hello", "published: hello (version 1 of 1)"]
