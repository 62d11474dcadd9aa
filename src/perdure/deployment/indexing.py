"""What Microsoft's Python worker and the Functions host refuse when they look for an app's functions.

One function that is refused takes all of them with it: nothing of the app is served.
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func
from azure.functions.decorators import function_app

from perdure import app as apps
from perdure.deployment.checks import Finding

Findings = Iterator[Finding]

CLIENT: Final = "durableClient"
RETURNED: Final = "$return"
IN, OUT, BOTH = range(3)

RESERVED_ROUTES: Final = ("admin", "runtime")
"""First parts of routes that are the host's own."""

_NAME: Final = re.compile(r"(?!host$)[a-z][a-z0-9_-]{0,127}", re.IGNORECASE)
_INTERVAL: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]?\d:[0-5]?\d")
_NOT_GENERIC: Final = (typing.Union, tuple, typing.ClassVar, collections.abc.Callable)
_DURABLE: Final = {
    "orchestrationTrigger": "orchestration",
    "activityTrigger": "activity",
    "entityTrigger": "entity_name",
}


def of_app(module: ModuleType, file: str) -> Findings:
    """Look for what is refused in an app. Its functions are asked for, as the worker does, which may be done once.

    Args:
        module: Its file, imported.
        file: The name of its file.

    Raises:
        UsageError: If ``host.json`` or a setting is not acceptable.
    """
    if file != "function_app.py":
        yield _error(
            f"The app is in {file}; Azure looks for it in function_app.py.",
            f"Call it function_app.py, or set PYTHON_SCRIPT_FILE_NAME={file} on Azure.",
        )
    bound = {name: value for name, value in vars(module).items() if isinstance(value, function_app.FunctionRegister)}
    if len(bound) > 1:
        yield _error(
            f"{file} has the app under several names, {', '.join(bound)}: the worker takes them for several apps.",
            "Keep one.",
        )
    app = next(iter(bound.values()))
    try:
        found = _listed(app)
    except ImportError as error:
        yield _error(f"The functions of the app on Azure could not be looked at: {error}.", "Install what is missing.")
        return
    except (ValueError, TypeError) as error:
        yield _error(f"The worker cannot list the functions of the app: {error}", "Correct it.")
        return
    for one in found:
        yield from of_function(one)
    yield from _together(found)


def _listed(app: function_app.FunctionRegister) -> list[function_app.Function]:
    """Give the functions of an app, but for those that only its store knows of."""
    if isinstance(app, apps.AgentFunctionApp):
        from perdure.hosts.azure import functions  # Needs the extra "azure".

        functions.register(app, with_earlier=False)
        found: list[function_app.Function] = df.DFApp.get_functions(app)
        return found
    return app.get_functions()


def of_function(function: function_app.Function) -> Findings:
    """Look for what is refused in one function."""
    name, call = function.get_function_name() or "?", function.get_user_function()
    if not _NAME.fullmatch(name):
        yield _error(
            f"{name!r} is no name of a function on Azure.",
            "It has up to 128 letters, digits, _ and -, starts with a letter, and is not 'host'.",
        )
    try:
        hints = typing.get_type_hints(call)
    except Exception as error:  # Whatever an annotation raises when it is looked up.
        yield _error(
            f"An annotation of the function {name!r} cannot be looked up: {type(error).__name__}: {error}.",
            "The worker looks up all of them. Import what they name where the module runs, not under TYPE_CHECKING.",
        )
        return
    bindings = {str(binding.name): binding for binding in function.get_bindings()}
    yield from _parameters(name, call, bindings, hints)
    for binding in bindings.values():
        if binding.direction == BOTH or (binding.name == RETURNED and binding.direction != OUT):
            yield _error(f"The binding {binding.name!r} of the function {name!r} has a wrong direction.", "Correct it.")
    for parameter, binding in bindings.items():
        if parameter in hints and parameter != RETURNED:
            yield from _annotation(name, binding, hints[parameter])
    if RETURNED in bindings and "return" in hints:
        yield from _returned(name, str(bindings[RETURNED].type), hints["return"])
    yield from _durable(name, call, bindings)
    yield from _retried(name, function)


def _parameters(name: str, call: Any, bindings: Mapping[str, Any], hints: Mapping[str, Any]) -> Findings:
    there = set(inspect.signature(call).parameters)
    handled = _handled(call) is not None
    if "context" in there and "context" not in bindings and not handled:
        there.discard("context")
        given = hints.get("context")
        if given is not None and getattr(given, "__name__", "") != "Context":
            yield _error(
                f"The parameter 'context' of the function {name!r} is no binding and is annotated {_shown(given)}.",
                "It is the invocation's: annotate it azure.functions.Context, or give it another name.",
            )
    declared = {parameter for parameter in bindings if parameter != RETURNED}
    # A settlement client is told by its annotation, which is of a package that may not be here.
    settles = any(binding.type == "serviceBusTrigger" for binding in bindings.values())
    for parameter in sorted(there - declared) if not settles and not handled else ():
        yield _error(
            f"The function {name!r} has the parameter {parameter!r}, which nothing is bound to.",
            "Name a parameter as in its decorator, or take it out.",
        )
    for parameter in sorted(declared - there):
        yield _error(
            f"The function {name!r} has no parameter {parameter!r}, which its decorator names.",
            'Write context_name="context": what the worker sees is the SDK\'s handler, and that is its parameter.'
            if handled
            else "Give both the same name.",
        )


def _handled(call: Any) -> Any:
    """Give the orchestrator or entity that a function is the SDK's handler of; None if it is none."""
    return getattr(call, "orchestrator_function", None) or getattr(call, "entity_function", None)


def _annotation(name: str, binding: Any, given: Any) -> Findings:
    what = f"The parameter {binding.name!r} of the function {name!r} is annotated {_shown(given)}"
    if getattr(given, "__module__", "").startswith("azurefunctions."):
        return  # A type of an SDK binding, whose package looks after it.
    is_out = getattr(typing.get_origin(given) or given, "__name__", "") == "Out"
    if is_out != (binding.direction == OUT):
        wanted = "azure.functions.Out[...]" if not is_out else "not azure.functions.Out"
        yield _error(f"{what}; its binding goes {'out' if not is_out else 'in'}.", f"The annotation must be {wanted}.")
        return
    if is_out:
        arguments = typing.get_args(given)
        if len(arguments) != 1:
            yield _error(f"{what}, which says nothing of what comes out.", "Write azure.functions.Out[str].")
            return
        given = arguments[0]
    if not isinstance(given, type) and not _is_generic(given):
        yield _error(
            f"{what}, which the worker of Azure Functions does not take: it takes classes only.", _plainer(given)
        )
        return
    kind = str(binding.type)
    generic = given in (str, bytes) and not _answers(kind)
    check = _check("generic" if generic else kind, "out" if is_out else "in")
    if not _passes(check, given):
        yield _error(f"{what}, which does not go with {kind}.", _wanted(kind))


def _returned(name: str, kind: str, given: Any) -> Findings:
    if not isinstance(given, type) or not _passes(_check(kind, "out"), given):
        yield _error(
            f"The function {name!r} is annotated to return {_shown(given)}, which does not go with {kind}.",
            "Annotate azure.functions.HttpResponse or str, or nothing."
            if kind == "http"
            else "Annotate str, or nothing.",
        )


def _durable(name: str, call: Any, bindings: Mapping[str, Any]) -> Findings:
    """What the worker takes, and what fails when it is called."""
    client = next((binding.name for binding in bindings.values() if binding.type == CLIENT), None)
    inner = getattr(call, "client_function", None)
    if client is not None and inner is not None and not inspect.iscoroutinefunction(inspect.unwrap(inner)):
        yield _error(
            f"The function {name!r} takes the durable client {client!r} and is not async: each call of it fails.",
            "Write async def: the client's own calls are awaited too.",
        )
    handler = _handled(call)
    if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
        kind = "orchestrator" if hasattr(call, "orchestrator_function") else "entity"
        yield _error(
            f"The {kind} {name!r} is async, which Durable Functions does not run.", "Write def, with yield for await."
        )


def _retried(name: str, function: function_app.Function) -> Findings:
    told = function.get_settings_dict("retry_policy") or {}
    for setting in ("delay_interval", "minimum_interval", "maximum_interval"):
        value = told.get(setting)
        if (value or (setting == "delay_interval" and told.get("strategy") == "fixed_delay")) and not (
            isinstance(value, str) and _INTERVAL.fullmatch(value)
        ):
            yield _error(f"The retry policy of the function {name!r} has {setting} {value!r}.", "Write it as HH:MM:SS.")


def _together(functions: Iterable[function_app.Function]) -> Findings:
    """What is refused of functions beside each other."""
    names: dict[str, str] = {}
    durable: dict[tuple[str, str], str] = {}
    routes: dict[tuple[str, str], str] = {}
    for function in functions:
        name = function.get_function_name() or "?"
        if names.setdefault(name.casefold(), name) is not name:
            yield _error(f"Two functions are called {name!r}, in any case.", "Give one of them another name.")
        trigger: Any = function.get_trigger()
        kind = str(trigger.type)
        if kind in _DURABLE:
            called = str(getattr(trigger, _DURABLE[kind], None) or name)
            other = durable.setdefault((kind, called.casefold()), name)
            if other.casefold() != name.casefold():
                yield _error(f"The functions {other!r} and {name!r} have the durable name {called!r}.", "Rename one.")
        if kind == "httpTrigger":
            route = str(trigger.route or name).strip("/")
            if route.partition("/")[0].casefold() in RESERVED_ROUTES:
                yield _error(f"The route {route!r} of {name!r} is the host's own.", "Give it another first part.")
            shape = re.sub(r"{[^}]*}", "{}", route.casefold())
            for method in [str(getattr(each, "value", each)).upper() for each in trigger.methods or ("",)]:
                other = routes.setdefault((method, shape), name)
                if other.casefold() != name.casefold():
                    yield _error(f"The functions {other!r} and {name!r} have one route, {route!r}.", "Change one.")


def _converter(kind: str) -> Any:
    return func.get_binding_registry().get(kind)  # type: ignore[no-untyped-call]  # it has no types


def _check(kind: str, way: str) -> Callable[[Any], bool] | None:
    """Give what the SDK says of annotations of a kind of binding; None where it has no word for it."""
    converter = _converter(kind)
    return getattr(converter, f"check_{way}put_type_annotation", None)


def _answers(kind: str) -> bool:
    """Say whether what a function returns is the answer to a trigger."""
    converter = _converter(kind)
    if converter is None:
        return kind != CLIENT
    return bool(getattr(converter, "has_implicit_output", lambda: False)())


def _passes(check: Callable[[Any], bool] | None, given: Any) -> bool:
    try:
        return bool(check(given)) if check is not None else issubclass(given, (str, bytes))
    except TypeError:
        return False


def _is_generic(given: Any) -> bool:
    """Say whether the worker takes an annotation for a generic type: it does those of ``typing``, and no built-in."""
    if type(given).__module__ != "typing" or not hasattr(given, "__origin__"):
        return False
    return given.__origin__ not in _NOT_GENERIC


def _plainer(given: Any) -> str:
    origin = typing.get_origin(given)
    if isinstance(origin, type) and origin.__module__ == "builtins":
        return f"Annotate {origin.__name__}, or nothing."
    return "Annotate a class, or nothing."


def _wanted(kind: str) -> str:
    return {
        "httpTrigger": "Annotate azure.functions.HttpRequest.",
        "timerTrigger": "Annotate azure.functions.TimerRequest.",
        "orchestrationTrigger": "Annotate azure.durable_functions.DurableOrchestrationContext, or nothing.",
    }.get(kind, "Annotate what the documentation of the trigger names, or nothing.")


def _shown(given: Any) -> str:
    return given.__name__ if isinstance(given, type) else str(given).replace("typing.", "")


def _error(what: str, remedy: str) -> Finding:
    return Finding("error", what, remedy)
