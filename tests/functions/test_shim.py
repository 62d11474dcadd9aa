"""The scheduling of the Durable extension: what is scheduled when, under which number."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from perdure.hosts.local.functions import history, sdk, shim, steps
from perdure.hosts.local.functions.history import Kind

Action = dict[str, Any]


def known(kind: Literal["activity", "orchestrator", "entity"], name: str) -> str:
    if name == "missing":
        raise LookupError(f"no {kind} {name}")
    return name


def activity(name: str) -> Action:
    return {"actionType": 0, "functionName": name, "input": "null"}


def retried(name: str, attempts: int) -> Action:
    options = {"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": attempts}
    return {**activity(name), "actionType": 1, "retryOptions": options}


def timer(second: int, *, cancelled: bool = False) -> Action:
    return {"actionType": 5, "fireAt": history.timestamp(second), "isCanceled": cancelled}


def event(name: str) -> Action:
    return {"actionType": 6, "externalEventName": name}


def any_of(*parts: Action) -> Action:
    return {"actionType": 11, "compoundActions": list(parts)}


def all_of(*parts: Action) -> Action:
    return {"actionType": 12, "compoundActions": list(parts)}


def raised(name: str) -> history.Event:
    return history.event(Kind.EVENT_RAISED, 1.0, Name=name, Input="1")


def done(number: int, value: str = "1") -> history.Event:
    return history.event(Kind.TASK_COMPLETED, 1.0, TaskScheduledId=number, Result=value)


def failed(number: int) -> history.Event:
    return history.event(Kind.TASK_FAILED, 1.0, TaskScheduledId=number, Reason="r", Details="")


def fired(number: int) -> history.Event:
    return history.event(Kind.TIMER_FIRED, 1.0, TimerId=number)


def scheduled(number: int, name: str) -> history.Event:
    return history.event(Kind.TASK_SCHEDULED, 0.0, number, Name=name)


def walk(actions: list[Action], *came: history.Event, schema: int = sdk.SCHEMA_V3, ended: bool = False) -> shim.Walk:
    started = [history.event(Kind.ORCHESTRATOR_STARTED, 0.0), history.event(Kind.EXECUTION_STARTED, 0.0)]
    sets = [actions] if schema else [[each] for each in actions]
    return shim.walk(sdk.Decision(sets, schema, done=ended), [*started, *came], "seed", known)


def names(found: shim.Walk) -> list[tuple[int, str]]:
    return [(step.id, step.name or step.kind) for step in found.plan().new]


def test_actions_are_awaited_one_after_another() -> None:
    actions = [activity("a"), activity("b")]

    assert names(walk(actions)) == [(0, "a")]
    assert names(walk(actions, scheduled(0, "a"), done(0))) == [(1, "b")]


def test_parts_of_a_wait_are_scheduled_together_in_their_order() -> None:
    assert names(walk([all_of(activity("a"), any_of(activity("b"), timer(5)), event("e"))])) == [
        (0, "a"),
        (1, "b"),
        (2, "timer"),
    ]


def test_the_first_of_any_lets_the_next_action_start_and_all_of_all() -> None:
    one = (scheduled(0, "a"), scheduled(1, "b"), done(1))

    assert names(walk([any_of(activity("a"), activity("b")), activity("c")], *one)) == [(2, "c")]
    assert names(walk([all_of(activity("a"), activity("b")), activity("c")], *one)) == []
    assert names(walk([all_of(activity("a"), activity("b")), activity("c")], *one, failed(0))) == [(2, "c")]


def test_a_retry_is_a_timer_and_the_same_again_and_one_timer_more_at_the_end() -> None:
    actions, came = [retried("a", 2), activity("b")], [scheduled(0, "a"), failed(0)]

    (step,) = walk(actions, *came).plan().new
    assert (step.id, step.kind, step.fire_at) == (1, "timer", 1.0)
    came += [history.event(Kind.TIMER_CREATED, 0.0, 1), fired(1)]
    assert names(walk(actions, *came)) == [(2, "a")]
    came += [scheduled(2, "a"), failed(2)]
    assert names(walk(actions, *came)) == [(3, "timer")]
    came += [history.event(Kind.TIMER_CREATED, 0.0, 3), fired(3)]
    assert names(walk(actions, *came)) == [(4, "b")]


def test_a_cancelled_timer_holds_up_nothing_and_is_taken_back() -> None:
    plan = walk([any_of(timer(9, cancelled=True), event("e")), activity("a")]).plan()

    assert plan.cancelled == [0]
    assert [step.kind for step in plan.new] == ["timer", "activity"]


def test_early_events_wait_until_they_are_taken_whatever_their_case() -> None:
    actions = [event("e"), event("e"), activity("a")]

    assert walk(actions, raised("e")).plan().complete is False
    assert names(walk(actions, raised("e"), raised("E"))) == [(0, "a")]
    assert list(walk([activity("a")], raised("e"), raised("f")).plan().dropped) == ["e", "f"]


def test_an_event_goes_to_the_newest_wait_not_to_one_that_was_given_up() -> None:
    actions = [any_of(event("e"), activity("a")), any_of(event("e"), activity("b")), activity("c")]

    assert names(walk(actions, scheduled(0, "a"), done(0), scheduled(1, "b"), raised("e"))) == [(2, "c")]


def test_a_wait_that_mixes_old_and_new_tasks_keeps_back_what_the_code_went_on_to() -> None:
    # task_any([a, b]), then task_any([a, c]): only c is new. When a is done the code goes on to d; here c is awaited.
    actions = [any_of(activity("a"), activity("b")), any_of(activity("c")), activity("d")]
    came = [scheduled(0, "a"), scheduled(1, "b"), done(1), scheduled(2, "c"), done(0)]

    stuck = walk(actions, *came).plan()
    assert stuck.new == []
    assert stuck.stalled == "activity 'd' comes only after one of (activity 'c')"
    assert names(walk(actions, *came, done(2))) == [(3, "d")]


def test_an_end_that_comes_too_early_is_kept_back_as_well() -> None:
    assert walk([activity("a")], ended=True).plan().stalled == "its end comes only after activity 'a'"
    assert walk([activity("a")]).plan().stalled == ""


def test_the_old_schema_awaits_any_of_a_set() -> None:
    found = shim.walk(
        sdk.Decision([[activity("a"), activity("b")], [activity("c")]], 0),
        [
            history.event(Kind.ORCHESTRATOR_STARTED, 0.0),
            history.event(Kind.EXECUTION_STARTED, 0.0),
            scheduled(0, "a"),
            scheduled(1, "b"),
            done(1),
        ],
        "seed",
        known,
    )

    assert names(found) == [(2, "c")]


@pytest.mark.parametrize(
    ("came", "told"),
    [
        (scheduled(0, "x"), "step 1 was activity 'x' when it first ran, and is activity 'a' now"),
        (
            history.event(Kind.TIMER_CREATED, 0.0, 0),
            "step 1 was a timer when it first ran, and is activity 'a' now",
        ),
        (scheduled(3, "y"), "step 4 was activity 'y' when it first ran, and is not there any more"),
        (
            history.event(Kind.CHILD_CREATED, 0.0, 0, Name="o"),
            "step 1 was sub-orchestration 'o' when it first ran, and is activity 'a' now",
        ),
        (
            history.event(Kind.EVENT_SENT, 0.0, 0, Name="op", InstanceId="@e@k"),
            "step 1 was a message to entity '@e@k' when it first ran, and is activity 'a' now",
        ),
    ],
)
def test_the_first_step_that_differs_is_named(came: history.Event, told: str) -> None:
    with pytest.raises(shim.NotDeterministic, match=f"^{told}$"):
        walk([activity("a"), activity("b")], came)


def test_a_function_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LookupError, match="no activity missing"):
        walk([activity("missing")])


def test_http_is_asked_again_where_it_says_so() -> None:
    action = {
        "actionType": 8,
        "httpRequest": {"method": "POST", "uri": "http://x", "headers": {"X-Functions-Key": "k"}},
    }
    answer = '{"statusCode": 202, "headers": {"Location": "http://y", "Retry-After": "7"}, "content": ""}'
    came = [scheduled(0, steps.HTTP_ACTIVITY), done(0, answer)]

    (wait,) = walk([action], *came).plan().new
    came += [history.event(Kind.TIMER_CREATED, 0.0, 1), fired(1)]
    (again,) = walk([action], *came).plan().new

    assert (wait.kind, wait.fire_at) == ("timer", 7.0)
    assert again.input == '{"method": "GET", "uri": "http://y", "headers": {}, "tokenSource": null}'


def test_the_code_is_not_run_for_what_cannot_bring_it_on() -> None:
    def fresh() -> shim.Walk:
        return walk([activity("a"), all_of(activity("b"), activity("c"))], scheduled(0, "a"), done(0))

    assert fresh().unmoved([done(1)])
    assert not fresh().unmoved([done(1), done(2)]), "all have come"
    assert not fresh().unmoved([failed(1)]), "the code hears of a failure at once"
    assert not fresh().unmoved([raised("e")])


def test_the_code_is_run_where_an_older_task_may_bring_it_on() -> None:
    mixed = walk(
        [any_of(activity("a"), activity("b")), any_of(activity("c"))], scheduled(0, "a"), scheduled(1, "b"), done(1)
    )

    assert not mixed.unmoved([done(0)])


def test_a_rewind_does_again_what_failed_of_the_last_action() -> None:
    found = walk(
        [activity("a"), all_of(activity("b"), retried("c", 2))],
        scheduled(0, "a"),
        done(0),
        scheduled(1, "b"),
        scheduled(2, "c"),
        done(1),
        failed(2),
        history.event(Kind.TIMER_CREATED, 0.0, 3),
        fired(3),
        scheduled(4, "c"),
        failed(4),
    )

    assert found.undone() == {2, 3, 4, 5}
