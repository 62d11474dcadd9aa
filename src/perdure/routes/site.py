"""What one host serves: the workflows, the runs behind them, and how links are made."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from perdure import errors
from perdure.routes import hosted, messages, problems
from perdure.routes import runs as run_store
from perdure.routes import sessions as session_store

DEFAULT_BODY_LIMIT_BYTES = 104_857_600
DEFAULT_PREFIX = "api"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """Everything that the routes stand on.

    Attributes:
        workflows: The hosted workflows by name.
        runs: Where runs are started and looked up.
        agents: The agents as ``health`` shows them.
        prefix: The route prefix without slashes; may be empty.
        base_url: What absolute links start with instead of the request's own origin; no trailing slash.
        trusted_proxies: Peers whose ``X-Forwarded-*`` headers are believed.
        body_limit: The largest request body, bytes.
        hosted_agents: The hosted agents by name.
        sessions: Where their sessions are; None where no agent is hosted.
        agent_wait_seconds: How long a client waits for an agent that does not say how long.
        stream_wait_seconds: How long a client does that asks for a stream; None for as long as it takes.
        with_health: Whether there is a ``health`` route.
    """

    workflows: Mapping[str, hosted.Hosted]
    runs: run_store.Runs
    agents: Sequence[Mapping[str, Any]] = ()
    prefix: str = DEFAULT_PREFIX
    base_url: str = ""
    trusted_proxies: tuple[Network, ...] = ()
    body_limit: int = DEFAULT_BODY_LIMIT_BYTES
    hosted_agents: Mapping[str, session_store.HostedAgent] = dataclasses.field(default_factory=dict)
    sessions: session_store.Sessions | None = None
    agent_wait_seconds: float = 200.0
    stream_wait_seconds: float | None = None
    with_health: bool = True

    @property
    def agent_names(self) -> list[str]:
        """Names of the agents that have routes."""
        return [name for name, agent in self.hosted_agents.items() if agent.http_endpoint]

    @property
    def conversations(self) -> session_store.Sessions:
        """Where the sessions of agents are.

        Raises:
            Problem: 404 if no agent is hosted.
        """
        if self.sessions is None:
            raise problems.Problem(404, "No agent is hosted here.", kind="unknown-agent")
        return self.sessions

    def find_agent(self, name: str) -> session_store.HostedAgent:
        """Give an agent that has routes, by its name in any case.

        Raises:
            Problem: 404 if there is none of that name.
        """
        served = {known.casefold(): agent for known, agent in self.hosted_agents.items() if agent.http_endpoint}
        found = served.get(name.casefold())
        if found is None:
            known = ", ".join(sorted(agent.name for agent in served.values())) or "none"
            raise problems.Problem(
                404, f"No agent {problems.clipped(name)} is hosted here; hosted: {known}.", kind="unknown-agent"
            )
        return found

    def find(self, name: str) -> hosted.Hosted:
        """Give a workflow by its name in any case.

        Raises:
            Problem: 404 if none is hosted under that name.
        """
        found = self.workflows.get(name)
        if found is not None:
            return found
        folded = name.casefold()
        for known, workflow in self.workflows.items():
            if known.casefold() == folded:
                return workflow
        raise problems.unknown_workflow(name, self.workflows)

    def link(self, request: messages.Request, *segments: str) -> str:
        """Make an absolute link to a route below the prefix; the segments are percent-encoded."""
        path = "/".join(quote(part, safe="") for part in segments)
        root = self.origin(request)
        return f"{root}/{self.prefix}/{path}" if self.prefix else f"{root}/{path}"

    def origin(self, request: messages.Request) -> str:
        """Give what links start with: the base url, what a trusted proxy forwards, or the request's origin."""
        if self.base_url:
            return self.base_url
        if self.trusted_proxies and ("x-forwarded-host" in request.headers or "x-forwarded-proto" in request.headers):
            return _forwarded(self, request)
        return request.origin


def _forwarded(site: Site, request: messages.Request) -> str:
    if not _trusted(site, request.client):
        return request.origin
    own_scheme, _, own_host = request.origin.partition("://")
    scheme = _first(request.headers.get("x-forwarded-proto", "")).lower()
    host = _first(request.headers.get("x-forwarded-host", ""))
    if scheme not in ("http", "https"):
        scheme = own_scheme
    if not host or any(sign in host for sign in "/\\@?# \t"):
        host = own_host
    return f"{scheme}://{host}"


def _trusted(site: Site, client: str) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in site.trusted_proxies)


def _first(header: str) -> str:
    return header.partition(",")[0].strip()


def parse_proxies(text: str) -> tuple[Network, ...]:
    """Read a comma-separated list of addresses and networks; ``*`` is everyone.

    Raises:
        UsageError: If one of them is neither.
    """
    networks: list[Network] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        if part == "*":
            networks += [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
            continue
        try:
            networks.append(ipaddress.ip_network(part, strict=False))
        except ValueError as error:
            raise errors.UsageError(
                f"PERDURE_TRUSTED_PROXIES has {part!r}, which is no IP address or network.",
                "Give addresses such as 10.0.0.5 or 10.0.0.0/8, separated by commas.",
            ) from error
    return tuple(networks)
