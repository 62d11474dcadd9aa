"""The functions of an app, a line each, for people."""

from __future__ import annotations

from collections.abc import Iterator

from azure.functions.decorators import function_app

from perdure.hosts.local.functions import declared, http

_TRIGGERS = {"orchestrator": "orchestrationTrigger", "activity": "activityTrigger", "entity": "entityTrigger"}


def of(app: function_app.FunctionRegister, root: str) -> Iterator[str]:
    """Say of each function what triggers it, or that it is not served.

    Args:
        app: The app.
        root: The address that routes are below.
    """
    functions = declared.of(app)
    for route in http.routes_of(functions):
        yield f"{route.function.name}: [{','.join(route.methods)}] {root}/{route.template}"
    for kind, trigger in _TRIGGERS.items():
        for function in getattr(functions, kind).values():
            yield f"{function.name}: {trigger}"
    for function in functions.timer.values():
        yield f"{function.name}: timerTrigger {function.trigger.schedule}"
    for other in functions.unserved:
        yield f"{other.name}: {other.why}, not served on this host"
