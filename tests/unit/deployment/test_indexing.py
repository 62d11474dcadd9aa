"""What is refused by the Functions host, or fails when it is called; what the worker refuses: ``tests/worker``."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func
import pytest

from perdure.deployment import indexing


def found(add: Callable[[df.DFApp], None], file: str = "function_app.py") -> list[str]:
    module = types.ModuleType("function_app")
    app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    add(app)
    module.__dict__["app"] = app
    return [f"{finding.what} {finding.remedy}" for finding in indexing.of_app(module, file)]


def activity(app: df.DFApp, name: str, durable: str | None = None) -> None:
    def one(given: Any) -> None: ...

    app.function_name(name)(app.activity_trigger(input_name="given", activity=durable)(one))


def route(app: df.DFApp, name: str, path: str, *methods: str) -> None:
    def one(req: func.HttpRequest) -> None: ...

    one.__annotations__.pop("return")
    app.function_name(name)(app.route(path, methods=methods or None)(one))


def plain(app: df.DFApp) -> None:
    activity(app, "a")
    activity(app, "A-1", "other")
    route(app, "get", "things/{id}", "GET")
    route(app, "put", "things/{key}", "PUT")


def a_client_in_a_plain_function(app: df.DFApp) -> None:
    @app.route("one")  # type: ignore[untyped-decorator]
    @app.durable_client_input("client")  # type: ignore[untyped-decorator]
    def one(req: func.HttpRequest, client: str) -> str:
        return "never"


def an_async_orchestrator(app: df.DFApp) -> None:
    @app.orchestration_trigger("context")  # type: ignore[untyped-decorator]
    async def one(context: df.DurableOrchestrationContext) -> None: ...


def an_async_entity(app: df.DFApp) -> None:
    @app.entity_trigger("context")  # type: ignore[untyped-decorator]
    async def one(context: df.DurableEntityContext) -> None: ...


def the_same_in_another_case(app: df.DFApp) -> None:
    activity(app, "a")
    activity(app, "A")


def one_durable_name_twice(app: df.DFApp) -> None:
    activity(app, "a", "work")
    activity(app, "b", "Work")


def one_route_twice(app: df.DFApp) -> None:
    route(app, "a", "t/{x}", "GET")
    route(app, "b", "T/{y}", "POST", "GET")


CASES: dict[str, tuple[Callable[[df.DFApp], None], str]] = {
    "a name": (lambda app: activity(app, "my.activity"), "'my.activity' is no name of a function"),
    "the host's name": (lambda app: activity(app, "Host"), "'Host' is no name of a function"),
    "names in any case": (the_same_in_another_case, "are called 'A', in any case"),
    "durable names": (one_durable_name_twice, "'a' and 'b' have the durable name 'Work'"),
    "the host's route": (lambda app: route(app, "a", "Admin/x"), "'Admin/x' of 'a' is the host's own"),
    "one route twice": (one_route_twice, "'a' and 'b' have one route"),
    "plain with a client": (a_client_in_a_plain_function, "'client' and is not async"),
    "async orchestrator": (an_async_orchestrator, "The orchestrator 'one' is async"),
    "async entity": (an_async_entity, "The entity 'one' is async"),
}


@pytest.mark.parametrize(("add", "said"), CASES.values(), ids=CASES)
def test_what_the_host_refuses_or_no_call_survives_is_found(add: Callable[[df.DFApp], None], said: str) -> None:
    (one,) = found(add)
    assert said in one


def test_what_works_is_not_complained_of() -> None:
    assert found(plain) == []


def test_an_app_in_another_file_is_not_found_by_azure() -> None:
    (one,) = found(plain, "main.py")
    assert "PYTHON_SCRIPT_FILE_NAME=main.py" in one
