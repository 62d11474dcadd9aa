"""Functions with HTTP triggers: finding the one a request is for, and calling it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlencode

import azure.functions as func
import msgspec

from perdure import tracebacks
from perdure.hosts.local.functions import declared, invocation
from perdure.routes import messages

log = logging.getLogger("perdure.functions")

_PART = re.compile(r"\{(\*?)([A-Za-z_][A-Za-z0-9_]*)((?::[^{}=?]+)*)(=[^{}?]*)?(\??)\}")
_CONSTRAINTS: Mapping[str, str] = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "alpha": r"[A-Za-z]*",
    "bool": r"(?i:true|false)",
    "decimal": r"-?\d+(?:\.\d+)?",
    "float": r"-?\d+(?:\.\d+)?",
    "double": r"-?\d+(?:\.\d+)?",
    "guid": r"(?i:[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})",
}
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Route(msgspec.Struct, frozen=True):
    """A function's route.

    Attributes:
        function: The function.
        template: Its route as declared, without slashes at the ends.
        methods: In capitals.
        pattern: What the path below the prefix must look like.
        defaults: Values of parameters that the path leaves out.
        literal: Whether it has no parameters.
    """

    function: declared.Function
    template: str
    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    defaults: Mapping[str, str]
    literal: bool


def routes_of(functions: declared.Declared) -> list[Route]:
    """Give the routes of an app's functions, those with more literal parts first."""
    found = [_route(function) for function in functions.route.values()]
    return sorted(found, key=lambda route: [_weight(part) for part in route.template.split("/")])


def find(routes: Sequence[Route], path: str) -> list[tuple[Route, dict[str, str]]]:
    """Give the routes that a path below the prefix matches, the best first, with the path's parameters."""
    found: list[tuple[Route, dict[str, str]]] = []
    for route in routes:
        match = route.pattern.fullmatch(path.strip("/"))
        if match is not None:
            given = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
            found.append((route, {**route.defaults, **given}))
    return found


async def call(invoker: invocation.Invoker, route: Route, request: messages.Request, origin: str) -> messages.Reply:
    """Call a function with a request and give its response; what it raises is logged and answered with 500."""
    url = f"{origin}{request.path}"
    if request.query:
        url += f"?{urlencode(request.query)}"
    given = func.HttpRequest(
        request.method,
        url,
        headers=request.headers,
        params=request.query,
        route_params=request.params,
        body=request.body,
    )
    try:
        return reply_of(await invoker.call(route.function, given))
    except Exception as error:
        log.error("Function %r failed:\n%s", route.function.name, tracebacks.user_frames(error))
        return messages.Reply(500, {})


def reply_of(answer: Any) -> messages.Reply:
    """Give a function's answer as a reply.

    Raises:
        TypeError: If it is none.
    """
    if answer is None:
        return messages.Reply(204, {})
    if isinstance(answer, str | bytes):
        body = answer.encode() if isinstance(answer, str) else answer
        return messages.Reply(200, {"content-type": "text/plain; charset=utf-8"}, body)
    if not isinstance(answer, func.HttpResponse):
        raise TypeError(f"It gave a {type(answer).__name__}; an HTTP function gives a HttpResponse, a str or nothing.")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if "content-type" not in headers:
        text = answer.mimetype.startswith("text/")
        headers["content-type"] = f"{answer.mimetype}; charset={answer.charset}" if text else answer.mimetype
    headers.pop("content-length", None)
    return messages.Reply(answer.status_code, headers, answer.get_body())


def _route(function: declared.Function) -> Route:
    template = (function.trigger.route if function.trigger.route is not None else function.name).strip("/")
    parts = [_pattern(part) for part in template.split("/")] if template else []
    pattern = ""
    for place, (text, optional) in enumerate(parts):
        slash = "/" if place else ""
        pattern += f"(?:{slash}{text})?" if optional else f"{slash}{text}"
    defaults = {found[2]: found[4][1:] for found in _PART.finditer(template) if found[4]}
    methods = function.trigger.methods
    names = tuple(str(getattr(method, "value", method)).upper() for method in methods) if methods else ()
    return Route(
        function,
        template,
        names or ("GET", "POST"),
        re.compile(pattern, re.IGNORECASE),
        defaults,
        "{" not in template,
    )


def _pattern(part: str) -> tuple[str, bool]:
    """Give a segment's regular expression and whether it may be left out."""
    text, last, optional = "", 0, False
    for found in _PART.finditer(part):
        text += re.escape(part[last : found.start()])
        star, name, constraints, default, question = found.groups()
        value = r".*" if star else r"[^/]+"
        for constraint in constraints.split(":")[1:]:
            value = _CONSTRAINTS.get(constraint.partition("(")[0], value)
        text += f"(?P<{name}>{value})"
        optional = bool(question or default or star) and found.span() == (0, len(part))
        last = found.end()
    return text + re.escape(part[last:]), optional


def _weight(part: str) -> int:
    if "{*" in part:
        return 2
    return 1 if "{" in part else 0


def allowed(routes: Sequence[Route]) -> tuple[str, ...]:
    """Give the methods of some routes."""
    return tuple(sorted({name for route in routes for name in route.methods} & _METHODS))
