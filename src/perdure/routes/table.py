"""The routes of a site as data: what a web server and HTTP triggers are made from."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from perdure.routes import events, health, manage, messages, openapi, problems, workflows
from perdure.routes import site as sites

Handler = Callable[[sites.Site, messages.Request], Awaitable[messages.Reply]]

NAME_LIMIT = 100

_LEGAL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        name: The name of the function that serves it.
        method: In capitals; GET also serves HEAD.
        template: The path below the prefix, its parameters in braces, a workflow's name as it is.
        handler: What answers.
        fixed: Parameters that the template does not have but the handler reads.
        anonymous: Whether it is served without a key.
    """

    name: str
    method: str
    template: tuple[str, ...]
    handler: Handler
    fixed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    anonymous: bool = False


def routes(site: sites.Site) -> list[Route]:
    """Give the routes of a site."""
    found: list[Route] = []
    for name in site.workflows:
        found += _of_workflow(name)
    if len(site.workflows) == 1:
        (name,) = site.workflows
        found.append(Route("workflow-run", "POST", ("workflow", "run"), workflows.start, {"name": name}))
    return [
        *found,
        Route("workflows", "GET", ("workflows",), workflows.listing),
        Route("runs", "GET", ("runs",), manage.listing),
        Route("runs-cancel", "POST", ("runs", "{id}", "cancel"), manage.cancel),
        Route("runs-delete", "DELETE", ("runs", "{id}"), manage.purge),
        Route("health_check", "GET", ("health",), health.health, anonymous=True),
        Route("openapi", "GET", ("openapi.json",), openapi.document),
        Route("docs", "GET", ("docs",), openapi.page, anonymous=True),
    ]


def _of_workflow(name: str) -> list[Route]:
    durable = function_name(name)
    fixed = {"name": name}
    return [
        Route(f"dafx-{durable}-start", "POST", ("workflow", name, "run"), workflows.start, fixed),
        Route(f"dafx-{durable}-status", "GET", ("workflow", name, "status", "{id}"), workflows.status, fixed),
        Route(f"dafx-{durable}-events", "GET", ("workflow", name, "events", "{id}"), events.log, fixed),
        Route(f"dafx-{durable}-graph", "GET", ("workflow", name), workflows.describe, fixed),
    ]


def function_name(name: str) -> str:
    """Give a name as a function may bear it: itself, or made legal with 8 hex digits of its digest."""
    if _LEGAL_NAME.fullmatch(name) and len(name) <= NAME_LIMIT:
        return name
    legal = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:NAME_LIMIT]
    return f"{legal}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


class Table:
    """Finds the route of a request; literals match in any case and win over parameters."""

    def __init__(self, site: sites.Site, found: Sequence[Route] | None = None) -> None:
        self.site = site
        self.routes = routes(site) if found is None else list(found)
        self._patterns: dict[int, list[tuple[int, ...]]] = {}
        self._by_path: dict[tuple[str | None, ...], dict[str, Route]] = {}
        for route in self.routes:
            key = tuple(None if part.startswith("{") else part.casefold() for part in route.template)
            self._by_path.setdefault(key, {})[route.method] = route
            holes = tuple(place for place, part in enumerate(key) if part is None)
            patterns = self._patterns.setdefault(len(key), [])
            if holes not in patterns:
                patterns.append(holes)
                patterns.sort(key=len)

    def methods(self, segments: Sequence[str]) -> dict[str, Route]:
        """Give the routes at a path by method; empty if there are none."""
        folded = [part.casefold() for part in segments]
        found: dict[str, Route] = {}
        for holes in self._patterns.get(len(segments), ()):
            key = tuple(None if place in holes else part for place, part in enumerate(folded))
            found = {**self._by_path.get(key, {}), **found}
        return found

    def match(self, method: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]]:
        """Find a route and the path's parameters, given the decoded segments of the path below the prefix.

        Raises:
            Problem: 404 or 405, saying what is there.
        """
        at_path = self.methods(segments)
        route = at_path.get("GET" if method == "HEAD" else method)
        if route is None:
            raise self._missing(method, segments, at_path)
        params = dict(route.fixed)
        for part, given in zip(route.template, segments, strict=True):
            if part.startswith("{"):
                params[part[1:-1]] = given
        return route, params

    def _missing(self, method: str, segments: Sequence[str], at_path: Mapping[str, Route]) -> problems.Problem:
        path = "/".join(segments)
        if at_path:
            allowed = allow(at_path)
            return problems.Problem(
                405,
                f"{method} is not allowed on {problems.clipped(path)}; allowed: {allowed}.",
                headers={"allow": allowed},
            )
        names = {name.casefold() for name in self.site.workflows}
        if [part.casefold() for part in segments] == ["workflow", "run"]:
            return problems.Problem(
                404,
                f"There are {len(names)} workflows here; start one by its name at workflow/{{name}}/run. "
                f"Hosted: {', '.join(sorted(self.site.workflows)) or 'none'}.",
                kind="unknown-workflow",
            )
        if len(segments) > 1 and segments[0].casefold() == "workflow" and segments[1].casefold() not in names:
            return problems.unknown_workflow(segments[1], self.site.workflows)
        return problems.Problem(404, f"There is nothing at {problems.clipped(path)}; GET openapi.json lists what is.")


def allow(at_path: Mapping[str, Route]) -> str:
    """Give the ``Allow`` header for the routes at a path."""
    return ", ".join(sorted({*at_path, "OPTIONS", *(("HEAD",) if "GET" in at_path else ())}))
