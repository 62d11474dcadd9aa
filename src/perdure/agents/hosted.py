"""An agent as an app hosts it, and what runs its sessions once there is a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agent_framework import SupportsAgentRun
from opentelemetry import propagate

from perdure.agents import callbacks, log, naming, orchestrator, records, requests, turn, workflow_agent
from perdure.payloads import codec, refs, store
from perdure.workflow import isolation, policy, protocol, values


class HostedAgent:
    """An agent under the name it is hosted under.

    Args:
        name: That name.
        agent: The agent as the user built it; it is never run, its copies are.
        coder: The app's codec.
        callback: Who is told of its answers.
        http_endpoint: Whether it has HTTP routes.
        mcp_tool: Whether it is an MCP tool.
        session_ttl: Seconds after its last turn at which a session expires; 0 for never.
        retry: When a turn that failed is tried again; None for the default.
        rule: What of that, and of its timeout, a turn carries along.
    """

    def __init__(
        self,
        name: str,
        agent: SupportsAgentRun,
        coder: codec.Codec,
        *,
        callback: callbacks.AgentResponseCallbackProtocol | None = None,
        http_endpoint: bool = True,
        mcp_tool: bool = False,
        session_ttl: float = 0.0,
        retry: policy.Retry | None = None,
        rule: policy.Rule | None = None,
    ) -> None:
        self.name = name
        self.agent = agent
        self.codec = coder
        self.callback = callback
        self.http_endpoint = http_endpoint
        self.mcp_tool = mcp_tool
        self.session_ttl = session_ttl
        self.retry = retry
        self.rule = rule

    @property
    def description(self) -> str | None:
        """What the agent is for, in its builder's words."""
        return getattr(self.agent, "description", None)

    def accept(self, request: requests.Request) -> tuple[refs.Ref, list[refs.Blob]]:
        """Encode a request; what is to be stored belongs to its session.

        Raises:
            CodecError: If it holds something that cannot be encoded.
        """
        blobs: list[refs.Blob] = []
        return self.codec.encode(requests.to_value(request), blobs, where="the request"), blobs

    def turn(self, correlation_id: str, request: refs.Ref, *, stream: bool = False) -> records.Turn:
        """Make a turn out of an encoded request, with the trace that the running code is part of."""
        trace: dict[str, str] = {}
        propagate.inject(trace)
        return records.Turn(correlation_id, request, self.session_ttl, trace=trace, rule=self.rule, stream=stream)

    def describe(self) -> dict[str, Any]:
        """Show the agent as ``health`` does."""
        return {
            "name": self.name,
            "type": type(self.agent).__name__,
            "http_endpoint_enabled": self.http_endpoint,
            "mcp_tool_enabled": self.mcp_tool,
        }

    def bind(self, payloads: store.PayloadStore) -> Bound:
        """Put the agent on a store of payloads, ready to run."""
        return Bound(self, values.Shelf(self.codec, payloads))


class Bound:
    """A hosted agent on a store: the orchestration of its sessions, and the activity that runs it."""

    def __init__(self, hosted: HostedAgent, shelf: values.Shelf) -> None:
        self.hosted = hosted
        self._shelf = shelf
        template = isolation.Template(cast(Any, hosted.agent))
        built = hosted.agent

        def copy(instance_id: str) -> Any:
            copied = cast(Any, template.copy(instance_id))
            if isinstance(built, workflow_agent.Hosted):
                return workflow_agent.Sessioned(copied, built, self.values_of(instance_id))
            return copied

        self.turns = turn.Turns(hosted.name, copy, hosted.callback, shelf, hosted.retry)
        self.activity_name = naming.activity(hosted.name)
        self.orchestrator = orchestrator.SessionOrchestrator(
            naming.orchestration(hosted.name), self.activity_name, self.turns.release
        )

    @property
    def activities(self) -> Mapping[str, protocol.Activity]:
        """The activities by their durable names."""
        return {self.activity_name: self.turns}

    def instance(self, session_id: str) -> str:
        """Instance id of a session."""
        return naming.instance(self.hosted.name, session_id)

    def values_of(self, instance_id: str) -> values.RunValues:
        """Give the values of a session."""
        return values.RunValues(self._shelf, instance_id)

    def entry(self, instance_id: str, ref: refs.Ref) -> records.Entry:
        """Read an entry of a session's log."""
        return log.read(self.values_of(instance_id), ref)
