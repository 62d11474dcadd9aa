"""What this host touches of the SDK that is not public: fails loudly when the SDK moves."""

from __future__ import annotations

import importlib
import json
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]
import azure.functions as func
import pytest
from azure.durable_functions.models.history import HistoryEventType  # type: ignore[import-untyped]
from azure.durable_functions.models.ReplaySchema import ReplaySchema  # type: ignore[import-untyped]

from perdure.hosts.azure import sdk as azure
from perdure.hosts.local.functions import history, sdk
from perdure.hosts.local.functions.history import Kind


@pytest.fixture(autouse=True)
def quiet() -> None:
    sdk.quiet()


def context(*events: history.Event) -> dict[str, Any]:
    started = [
        history.event(Kind.ORCHESTRATOR_STARTED, 100.0),
        history.event(Kind.EXECUTION_STARTED, 100.0, Name="f", Input="null", Version=None),
    ]
    return {
        "history": history.played([*started, *events]),
        "input": None,
        "instanceId": "i",
        "isReplaying": False,
        "parentInstanceId": None,
        "upperSchemaVersion": sdk.SCHEMA_V2,
        "upperSchemaVersionNew": sdk.SCHEMA_V3,
    }


def decided(body: Any, *events: history.Event) -> sdk.Decision:
    return sdk.decide(df.Orchestrator.create(body), context(*events))


def test_the_kinds_of_events_are_the_sdks() -> None:
    names = {kind: history.NAMES[kind].casefold() for kind in Kind}

    assert names == {
        Kind(each.value): each.name.replace("_", "").casefold() for each in HistoryEventType if each.value in names
    }


def test_a_time_of_a_history_is_read_once() -> None:
    """The SDK would read those of all events anew in each turn, which is most of a turn of many."""
    azure.remember_times()
    read: Any = importlib.import_module("azure.durable_functions.models.history.HistoryEvent")

    def body(context: df.DurableOrchestrationContext) -> Any:
        yield context.call_activity("a")

    decided(body)
    before = read.dt_parse.cache_info()
    decided(body)
    after = read.dt_parse.cache_info()
    assert after.misses == before.misses
    assert after.hits > before.hits


def test_the_schemas_are_those_that_this_host_says_it_takes() -> None:
    assert (ReplaySchema.V2.value, ReplaySchema.V3.value) == (sdk.SCHEMA_V2, sdk.SCHEMA_V3)
    assert max(each.value for each in ReplaySchema) == sdk.SCHEMA_V3, "a newer schema has to be learnt"


@pytest.mark.parametrize(
    ("task", "action"),
    [
        (lambda c: c.call_activity("a", 1), {"actionType": 0, "functionName": "a", "input": "1"}),
        (
            lambda c: c.call_activity_with_retry("a", df.RetryOptions(5, 3), 1),
            {
                "actionType": 12,
                "compoundActions": [
                    {
                        "actionType": 1,
                        "functionName": "a",
                        "input": "1",
                        "retryOptions": {"firstRetryIntervalInMilliseconds": 5, "maxNumberOfAttempts": 3},
                    }
                ],
            },
        ),
        (
            lambda c: c.call_sub_orchestrator("o", 1, "x"),
            {"actionType": 2, "functionName": "o", "input": "1", "instanceId": "x", "version": None},
        ),
        (
            lambda c: c.create_timer(c.current_utc_datetime),
            {"actionType": 5, "fireAt": "1970-01-01T00:01:40.000000Z", "isCanceled": False},
        ),
        (
            lambda c: c.wait_for_external_event("e"),
            {"actionType": 6, "externalEventName": "e", "reason": "ExternalEvent"},
        ),
        (
            lambda c: c.call_entity(df.EntityId("E", "k"), "op", 1),
            {"actionType": 7, "instanceId": "@e@k", "operation": "op", "input": "1"},
        ),
        (
            lambda c: c.call_http("GET", "http://x"),
            {
                "actionType": 8,
                "httpRequest": {"method": "GET", "uri": "http://x", "content": None, "headers": None},
            },
        ),
        (
            lambda c: c.task_any([c.wait_for_external_event("e")]),
            {
                "actionType": 11,
                "compoundActions": [{"actionType": 6, "externalEventName": "e", "reason": "ExternalEvent"}],
            },
        ),
        (lambda c: c.task_all([c.call_activity("a")]), {"actionType": 12}),
    ],
)
def test_actions_look_as_they_are_read(task: Any, action: dict[str, Any]) -> None:
    def body(c: Any) -> Any:
        yield task(c)

    found = decided(body)

    assert found.schema == sdk.SCHEMA_V3
    ((only,),) = found.actions
    assert {name: only[name] for name in action} == action


def test_an_orchestrator_that_raises_gives_its_actions_and_its_reason() -> None:
    def body(c: Any) -> Any:
        yield c.call_activity("a")
        raise KeyError("lost")

    done = [
        history.event(Kind.TASK_SCHEDULED, 100.0, 0, Name="a"),
        history.event(Kind.ORCHESTRATOR_COMPLETED, 100.0),
        history.event(Kind.ORCHESTRATOR_STARTED, 101.0),
        history.event(Kind.TASK_COMPLETED, 101.0, TaskScheduledId=0, Result="1"),
    ]
    found = decided(body, *done)

    assert found.error == "'lost'"
    assert "test_contract_sdk.py" in found.detail
    assert len(found.actions[0]) == 1


def test_an_entity_answers_as_it_is_read() -> None:
    def body(c: Any) -> None:
        c.set_state(c.get_state(lambda: 0) + c.get_input())
        c.set_result("done")

    batch = [{"name": "add", "input": json.dumps("2"), "isSignal": False}]
    asked = {"self": {"name": "e", "key": "k"}, "exists": True, "state": "3", "batch": batch}

    found = json.loads(df.Entity.create(body)(json.dumps(asked)))

    assert (found["entityExists"], found["entityState"]) == (True, "5")
    assert (found["results"][0]["isError"], found["results"][0]["result"]) == (False, '"done"')


def test_functions_can_be_asked_for_again_and_given_to_another_app() -> None:
    app, other = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS), df.DFApp()

    @app.activity_trigger(input_name="x")  # type: ignore[untyped-decorator]
    def one(x: int) -> int:
        return x

    sdk.adopt(app, other)

    for _ in range(2):
        assert [each.get_function_name() for each in sdk.functions_of(app)] == ["one"]
        assert [each.get_function_name() for each in sdk.functions_of(other)] == ["one"]
    assert sdk.has_functions(other)
    assert not sdk.has_functions(df.DFApp())


def test_inputs_and_results_of_activities_are_json_text() -> None:
    assert sdk.decode_input(sdk.encode_result({"a": [1, None]})) == {"a": [1, None]}
    assert sdk.decode_input("no json") == "no json"
    with pytest.raises(ValueError, match="serializable"):
        sdk.encode_result({1, 2})


async def test_the_clients_connections_can_be_closed() -> None:
    await sdk.close_client()
