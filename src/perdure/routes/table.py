"""The routes of a site as data: what a web server and HTTP triggers are made from."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from urllib.parse import quote

from perdure import errors
from perdure.routes import (
    agents,
    conversations,
    events,
    health,
    manage,
    messages,
    openapi,
    problems,
    requests,
    workflows,
)
from perdure.routes import site as sites
from perdure.workflow import naming

logger = logging.getLogger("perdure.http")

Handler = Callable[[sites.Site, messages.Request], Awaitable[messages.Reply]]


class Parameter(str):
    """A segment of a template that stands for any value: a parameter's name."""

    __slots__ = ()


RUN_ID = Parameter("id")
REQUEST_ID = Parameter("request")


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        name: The name of the function that serves it.
        method: In capitals; GET also serves HEAD.
        template: The segments of the path below the prefix, not encoded.
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

    @property
    def path(self) -> str:
        """The template as part of an address: what is no parameter is percent-encoded."""
        return "/".join(
            f"{{{part}}}" if isinstance(part, Parameter) else quote(part, safe="") for part in self.template
        )


def of(names: Collection[str], agent_names: Collection[str] = (), *, with_health: bool = True) -> list[Route]:
    """Give the routes of a site that hosts the workflows and the agents of these names, with ``health`` or without."""
    found: list[Route] = [route for name in agent_names for route in _of_agent(name)]
    if agent_names:
        found.append(Route("agents", "GET", ("agents",), conversations.hosted))
    for name in names:
        found += _of_workflow(name)
    if len(names) == 1:
        (name,) = names
        found.append(Route("workflow-run", "POST", ("workflow", "run"), workflows.start, {"name": name}))
    if with_health:
        found.append(Route("health_check", "GET", ("health",), health.health, anonymous=True))
    return [
        *found,
        Route("workflows", "GET", ("workflows",), workflows.listing),
        Route("runs", "GET", ("runs",), manage.listing),
        Route("runs-cancel", "POST", ("runs", RUN_ID, "cancel"), manage.cancel),
        Route("runs-rewind", "POST", ("runs", RUN_ID, "rewind"), manage.rewind),
        Route("runs-delete", "DELETE", ("runs", RUN_ID), manage.purge),
        Route("openapi", "GET", ("openapi.json",), openapi.document),
        Route("docs", "GET", ("docs",), openapi.page, anonymous=True),
    ]


def _of_agent(name: str) -> list[Route]:
    # Up to its first hyphen each name says what it is, so that no agent's name can make two of them the same.
    legal = naming.legal(name)
    fixed = {"name": name}
    return [
        Route(f"http-{legal}", "POST", ("agents", name, "run"), agents.run, fixed),
        Route(f"sessions_list-{legal}", "GET", ("agents", name, "sessions"), conversations.listing, fixed),
        Route(f"session_read-{legal}", "GET", ("agents", name, "sessions", RUN_ID), conversations.read, fixed),
        Route(f"session_delete-{legal}", "DELETE", ("agents", name, "sessions", RUN_ID), conversations.delete, fixed),
        Route(
            f"session_reset-{legal}", "POST", ("agents", name, "sessions", RUN_ID, "reset"), conversations.reset, fixed
        ),
    ]


def _of_workflow(name: str) -> list[Route]:
    durable = naming.orchestration(name)
    fixed = {"name": name}
    return [
        Route(f"{durable}-start", "POST", ("workflow", name, "run"), workflows.start, fixed),
        Route(f"{durable}-status", "GET", ("workflow", name, "status", RUN_ID), workflows.status, fixed),
        Route(f"{durable}-respond", "POST", ("workflow", name, "respond", RUN_ID, REQUEST_ID), requests.respond, fixed),
        Route(
            f"{durable}-withdraw", "DELETE", ("workflow", name, "respond", RUN_ID, REQUEST_ID), requests.withdraw, fixed
        ),
        Route(f"{durable}-events", "GET", ("workflow", name, "events", RUN_ID), events.log, fixed),
        Route(f"{durable}-graph", "GET", ("workflow", name), workflows.describe, fixed),
    ]


class Table:
    """Finds the route of a request; literals match in any case and win over parameters."""

    def __init__(self, site: sites.Site, found: Sequence[Route] | None = None) -> None:
        self.site = site
        self.routes = (
            of(site.workflows, site.agent_names, with_health=site.with_health) if found is None else list(found)
        )
        self._patterns: dict[int, list[tuple[int, ...]]] = {}
        self._by_path: dict[tuple[str | None, ...], dict[str, Route]] = {}
        for route in self.routes:
            key = tuple(None if isinstance(part, Parameter) else part.casefold() for part in route.template)
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
            if isinstance(part, Parameter):
                params[part] = given
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
        if len(segments) > 1 and segments[0].casefold() == "agents":
            self.site.find_agent(segments[1])
        return problems.Problem(404, f"There is nothing at {problems.clipped(path)}; GET openapi.json lists what is.")


def allow(at_path: Mapping[str, Route]) -> str:
    """Give the ``Allow`` header for the routes at a path."""
    return ", ".join(sorted({*at_path, "OPTIONS", *(("HEAD",) if "GET" in at_path else ())}))


async def answer(site: sites.Site, route: Route, request: messages.Request) -> messages.Reply:
    """Call a route's handler; what it raises becomes a reply too."""
    try:
        return await route.handler(site, request)
    except problems.Problem as problem:
        return problems.reply(problem)
    except errors.HubError as error:
        logger.error("%s %s: %s", request.method, request.path, error)
        return problems.reply(problems.Problem(503, str(error), kind="hub", headers={"retry-after": "1"}))
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return problems.reply(problems.Problem(500, "The host failed to answer; its log has the reason."))
