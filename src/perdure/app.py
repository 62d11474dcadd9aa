"""AgentFunctionApp: what a user constructs in ``function_app.py``."""

from __future__ import annotations

import datetime
import logging
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func
from agent_framework import AgentExecutor, FunctionalWorkflow, SupportsAgentRun, Workflow

from perdure.agents import callbacks, durable_agent, function_tasks, overheard, workflow_agent
from perdure.agents import hosted as hosted_agents
from perdure.agents import naming as agent_naming
from perdure.payloads import codec
from perdure.payloads.codec import registry
from perdure.workflow import function_executor, hosted, naming, policy
from perdure.workflow import runtime_tools as tools

log = logging.getLogger("perdure")

AGENT_WAIT_SECONDS: Final = 200.0
"""How long a client waits for an agent where neither it nor the app says how long."""

DEFAULT_POLL_RETRIES: Final = 30
DEFAULT_POLL_SECONDS: Final = 1.0


class AgentFunctionApp(df.DFApp):  # type: ignore[misc]  # its base has no types
    """A Durable Functions app that hosts Agent Framework agents and workflows as durable, stateful HTTP services.

    Args:
        agents: Agents to host, each under its own name; ``add_agent`` adds others.
        workflow: The only workflow; it may have no name of its own. A graph, a ``@workflow`` function, or a factory of
            either, which is called once for each run.
        workflows: Several workflows, by name or each with a name of its own.
        http_auth_level: The key that a caller of the HTTP routes needs on Azure; none is asked for locally.
        enable_health_check: Whether there is a ``health`` route.
        enable_http_endpoints: Whether agents have HTTP routes, unless ``add_agent`` says otherwise.
        max_poll_retries: With ``poll_interval_seconds``, how long a client waits for an agent that does not say how
            long: their product. Where answers are pushed nothing is polled.
        poll_interval_seconds: See ``max_poll_retries``.
        enable_mcp_tool_trigger: Whether agents are MCP tools, unless ``add_agent`` says otherwise.
        default_callback: Told of the answers of agents that have no callback of their own, those inside workflows
            included: these are then asked to stream.
        session_ttl: How long after its last turn a session of an agent expires, seconds or a timedelta; never if not
            given.
        retry: When a step that raised is tried again: a ``perdure.Retry`` for all executors, or by executor id
            (``id`` or ``workflow/id``), agent name or ``"*"``. If not given, what may go away by itself (429, 5xx,
            connections) is tried three times where it comes from an agent or a model, all else once.
        timeouts: How long one attempt of a step may take, seconds; for all, or by the same keys.
        deadlines: What becomes of requests that nobody answers: a ``perdure.Deadline`` for all, or by executor id,
            class name of what is asked, or ``"*"``.
        runtime_tools: Tools that a run may ask for by name: functions or tools of the framework. A run outlives the
            process, so code that is given with it must be known here.
        types: Further classes that values of the shared state, messages and outputs may have. Those that handlers
            name, those defined below the app folder, builtins and the framework's own are known already.
        on_state_conflict: What becomes of a run in which two siblings of a superstep write one key: ``warn`` records
            an event and the later in canonical order wins; ``fail`` fails the run.
        strict_executor_state: Whether a changed executor attribute that cannot be encoded fails the run.
        allow_pickle: Whether values without any other encoding are pickled, authenticated with ``pickle_key``.
        pickle_key: The secret for that; 16 to 64 bytes.
        app_folder: The folder of the app; that of the calling module if not given.

    Raises:
        ValueError: If names clash or are missing, or an executor id cannot be addressed.
    """

    def __init__(
        self,
        agents: Sequence[SupportsAgentRun] | None = None,
        workflow: hosted.Source | None = None,
        workflows: Sequence[hosted.Source] | Mapping[str, hosted.Source] | None = None,
        http_auth_level: func.AuthLevel | str = func.AuthLevel.FUNCTION,
        enable_health_check: bool = True,
        enable_http_endpoints: bool = True,
        max_poll_retries: int | str | None = None,
        poll_interval_seconds: float | str | None = None,
        enable_mcp_tool_trigger: bool = False,
        default_callback: callbacks.AgentResponseCallbackProtocol | None = None,
        *,
        session_ttl: float | datetime.timedelta | None = None,
        retry: policy.RetryOption = None,
        timeouts: policy.TimeoutOption = None,
        deadlines: policy.DeadlineOption = None,
        runtime_tools: tools.Tools = None,
        types: Sequence[type] = (),
        on_state_conflict: Literal["warn", "fail"] = "warn",
        strict_executor_state: bool = False,
        allow_pickle: bool = False,
        pickle_key: bytes | None = None,
        app_folder: str | pathlib.Path | None = None,
    ) -> None:
        if on_state_conflict not in ("warn", "fail"):
            raise ValueError(f'on_state_conflict is {on_state_conflict!r}; it must be "warn" or "fail".')
        if isinstance(agents, Workflow):
            raise ValueError("A workflow is given by name: AgentFunctionApp(workflow=...); agents come first.")
        super().__init__(http_auth_level=http_auth_level)
        self._registered = False
        self.enable_health_check = enable_health_check
        self.enable_http_endpoints = enable_http_endpoints
        self.enable_mcp_tool_trigger = enable_mcp_tool_trigger
        self.default_callback = default_callback
        self.max_poll_retries = _retries(max_poll_retries)
        self.poll_interval_seconds = _interval(poll_interval_seconds)
        self.agent_wait_seconds = (
            AGENT_WAIT_SECONDS
            if max_poll_retries is None and poll_interval_seconds is None
            else self.max_poll_retries * self.poll_interval_seconds
        )
        self.app_folder = pathlib.Path(app_folder).resolve() if app_folder is not None else _folder_of_caller()
        known = self._known = registry.Registry(self.app_folder)
        known.add(*types)
        coder = self._codec = codec.Codec(known, allow_pickle=allow_pickle, pickle_key=pickle_key)
        policies = self._policies = policy.Options(retry, timeouts, deadlines)
        offered = tools.RuntimeTools(runtime_tools)
        self.hosted_workflows: Mapping[str, hosted.HostedWorkflow] = {
            name: hosted.HostedWorkflow(
                name,
                source,
                coder,
                known,
                strict_executor_state=strict_executor_state,
                fail_on_conflict=on_state_conflict == "fail",
                policies=policies,
                listen=None if default_callback is None else overheard.Overheard(default_callback),
                tools=offered,
            )
            for name, source in _named(workflow, workflows)
        }
        self._session_ttl = _seconds(session_ttl)
        self.hosted_agents: dict[str, hosted_agents.HostedAgent] = {}
        for agent in agents or ():
            self.add_agent(agent)
        self._workflow_agents = self._agents_inside()
        policies.check({name: found.places for name, found in self.hosted_workflows.items()}, self.hosted_agents)

    @property
    def agents(self) -> dict[str, SupportsAgentRun]:
        """The hosted agents by name, as they were given."""
        return {name: found.agent for name, found in self.hosted_agents.items()}

    @property
    def workflows(self) -> dict[str, Workflow | FunctionalWorkflow]:
        """The hosted workflows by name; of a factory, what it built first."""
        return {name: function_executor.given(found.workflow) for name, found in self.hosted_workflows.items()}

    @property
    def workflow(self) -> Workflow | FunctionalWorkflow | None:
        """The hosted workflow if there is exactly one."""
        found = list(self.hosted_workflows.values())
        return function_executor.given(found[0].workflow) if len(found) == 1 else None

    def get_functions(self) -> list[func.Function]:
        """Give the functions of the app as the worker of Azure Functions asks for them: its own and those it hosts.

        Raises:
            UsageError: If ``host.json`` or a setting is not acceptable.
            HubError: If the storage account cannot be reached; it may be asked again.
        """
        if not self._registered:
            from perdure.hosts.azure import functions

            functions.register(self)
            self._registered = True
        found: list[func.Function] = super().get_functions()
        return found

    def add_agent(
        self,
        agent: SupportsAgentRun,
        callback: callbacks.AgentResponseCallbackProtocol | None = None,
        enable_http_endpoint: bool | None = None,
        enable_mcp_tool_trigger: bool | None = None,
        *,
        entity_id: str | None = None,
        session_ttl: float | datetime.timedelta | None = None,
        retry: policy.Retry | None = None,
        timeout: float | None = None,
    ) -> None:
        """Host an agent: each of its sessions is durable. An agent that is hosted already is left as it is.

        Args:
            agent: The agent; it is copied for each turn and never run itself.
            callback: Told of its answers; the app's default if not given.
            enable_http_endpoint: Whether it has HTTP routes; as the app says if not given.
            enable_mcp_tool_trigger: Whether it is an MCP tool; as the app says if not given.
            entity_id: The name to host it under instead of its own.
            session_ttl: How long after its last turn a session expires; as the app says if not given.
            retry: When a turn that failed is tried again; as the app says if not given.
            timeout: How long one attempt of a turn may take, seconds; as the app says if not given.

        Raises:
            ValueError: If it has no name, or one that another agent or a workflow has, in any case.
        """
        name = entity_id or getattr(agent, "name", None)
        if not name:
            raise ValueError(
                "An agent needs a name to be hosted under: give it one with name=..., or say entity_id=..."
            )
        if isinstance(agent, workflow_agent.Hosted):
            for annotation in workflow_agent.value_types(agent):
                self._known.add_annotation(annotation)
        there = self.hosted_agents.get(name)
        if there is not None and there.agent is agent:
            log.warning("Agent %r is hosted already; it was not added again.", name)
            return
        self._check_agent_name(name)
        chosen, rule = self._policies.agent(name, retry, timeout)
        self.hosted_agents[name] = hosted_agents.HostedAgent(
            name,
            agent,
            self._codec,
            callback=callback or self.default_callback,
            http_endpoint=self.enable_http_endpoints if enable_http_endpoint is None else bool(enable_http_endpoint),
            mcp_tool=(
                self.enable_mcp_tool_trigger if enable_mcp_tool_trigger is None else bool(enable_mcp_tool_trigger)
            ),
            session_ttl=self._session_ttl if session_ttl is None else _seconds(session_ttl),
            retry=chosen,
            rule=rule,
        )

    def get_agent(
        self, context: df.DurableOrchestrationContext, agent_name: str, workflow_name: str | None = None
    ) -> durable_agent.DurableAIAgent[function_tasks.AgentTask]:
        """Give a hosted agent to a hand-written orchestration, as a durable agent whose turns are tasks to yield.

        Args:
            context: The orchestration's context.
            agent_name: The name that the agent is hosted under, in any case.
            workflow_name: The workflow that it is an executor of; then ``agent_name`` is the executor's id.

        Raises:
            ValueError: If no such agent is hosted.
        """
        name = str(agent_name) if workflow_name is None else f"{workflow_name}-{agent_name}"
        there = self.agents_for_orchestrations
        found = {known.casefold(): agent for known, agent in there.items()}.get(name.casefold())
        if found is None:
            known = ", ".join(map(repr, there)) or "none"
            raise ValueError(f"Agent {name!r} is not registered with this app; registered: {known}.")
        orchestration = function_tasks.FunctionsOrchestration(context, found.name)
        return durable_agent.DurableAIAgent(orchestration, found.name, found.description)

    @property
    def agents_for_orchestrations(self) -> dict[str, hosted_agents.HostedAgent]:
        """What :meth:`get_agent` gives, by name: the hosted agents, and those in workflows as ``workflow-executor``."""
        taken = {naming.legal(name).casefold() for name in (*self.hosted_agents, *self.hosted_workflows)}
        inside = {
            name: agent for name, agent in self._workflow_agents.items() if naming.legal(name).casefold() not in taken
        }
        return {**self.hosted_agents, **inside}

    def _agents_inside(self) -> dict[str, hosted_agents.HostedAgent]:
        """Make the agents inside workflows ones that orchestrations can have; they have no routes of their own."""
        steps = {
            naming.activity(name, place) for name, found in self.hosted_workflows.items() for place in found.places
        }
        inside: dict[str, hosted_agents.HostedAgent] = {}
        for workflow, found in self.hosted_workflows.items():
            for executor in found.workflow.executors.values():
                name = f"{workflow}-{executor.id}"
                if not isinstance(executor, AgentExecutor) or agent_naming.activity(name) in steps:
                    continue
                retry, rule = self._policies.agent(executor.agent.name or name, None, None)
                inside[name] = hosted_agents.HostedAgent(
                    name,
                    executor.agent,
                    self._codec,
                    callback=self.default_callback,
                    http_endpoint=False,
                    session_ttl=self._session_ttl,
                    retry=retry,
                    rule=rule,
                )
        return inside

    def _check_agent_name(self, name: str) -> None:
        folded = naming.legal(name).casefold()
        for kind, others in (("agent", self.hosted_agents), ("workflow", self.hosted_workflows)):
            for other in others:
                if naming.legal(other).casefold() == folded:
                    raise ValueError(
                        f"There is a hosted {kind} {other!r} already, and {name!r} is the same in any case: "
                        "give one of them another name; add_agent(..., entity_id=...) hosts an agent under another one."
                    )


def _retries(given: int | str | None) -> int:
    """Read a count that may come out of the environment as text; below one is one."""
    if given is None:
        return DEFAULT_POLL_RETRIES
    try:
        return max(1, int(given))
    except (TypeError, ValueError):
        raise ValueError(f"max_poll_retries is {given!r}; it must be a whole number.") from None


def _interval(given: float | str | None) -> float:
    """Read a number of seconds that may come out of the environment as text; what is no time is the default."""
    if given is None:
        return DEFAULT_POLL_SECONDS
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        raise ValueError(f"poll_interval_seconds is {given!r}; it must be a number of seconds.") from None
    return seconds if 0 < seconds < math.inf else DEFAULT_POLL_SECONDS


def _seconds(ttl: float | datetime.timedelta | None) -> float:
    seconds = ttl.total_seconds() if isinstance(ttl, datetime.timedelta) else float(ttl or 0.0)
    if seconds < 0:
        raise ValueError(f"session_ttl is {ttl!r}; it must be a time to come, or 0 for never.")
    return seconds


def _named(
    workflow: hosted.Source | None, workflows: Sequence[hosted.Source] | Mapping[str, hosted.Source] | None
) -> list[tuple[str, hosted.Source]]:
    """Give every workflow a name, and refuse names that clash or are missing."""
    if isinstance(workflows, Mapping):
        found = list(workflows.items())
        if workflow is not None:
            found.append((_own_name(workflow) or _missing_name(), workflow))
    else:
        sources = [*([workflow] if workflow is not None else []), *(workflows or ())]
        sole = len(sources) == 1
        found = [(_own_name(source) or (naming.SOLE_NAME if sole else _missing_name()), source) for source in sources]
    seen: dict[str, str] = {}
    for name, _ in found:
        if not name or naming.is_automatic(name):
            _missing_name()
        folded = naming.legal(name).casefold()
        if folded in seen:
            raise ValueError(
                f"Two workflows are called {seen[folded]!r} and {name!r}, which are the same in any case: "
                "give one of them another name."
            )
        seen[folded] = name
    return found


def _own_name(source: hosted.Source) -> str | None:
    """The name that a workflow was built with; None if the builder made one up."""
    found = function_executor.hostable(source)
    built = found if isinstance(found, Workflow) else found()
    return None if naming.is_automatic(built.name) else built.name


def _missing_name() -> str:
    raise ValueError(
        "Among several workflows each needs a name that stays the same: "
        'build them with WorkflowBuilder(name="...", ...), or give workflows={"name": workflow}.'
    )


def _folder_of_caller() -> pathlib.Path | None:
    """The folder of the module that constructs the app."""
    file = sys._getframe(2).f_globals.get("__file__")  # pyright: ignore[reportPrivateUsage]
    return pathlib.Path(file).resolve().parent if file else None
