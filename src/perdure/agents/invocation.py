"""One call of an agent: with the session, the options, and whoever wants to hear the answer as it comes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable
from typing import Any, Final

import msgspec
from agent_framework import AgentResponse, AgentResponseUpdate, AgentSession

from perdure import errors
from perdure.agents import approvals, callbacks, requests, workflow_agent
from perdure.workflow import connections

NO_TOOLS: Final = "none"

logger = logging.getLogger("perdure")


class Broken(Exception):
    """An answer that broke off.

    Attributes:
        heard: What had come of it; None if nothing had.
    """

    def __init__(self, heard: AgentResponse[Any] | None) -> None:
        super().__init__("The answer broke off.")
        self.heard = heard


class AgentLeft(errors.PerdureError):
    """An agent ended itself instead of answering."""


class Unfit(errors.PerdureError):
    """An agent cannot do what the request asks, or gave what is no answer."""


async def run(
    agent: Any,
    request: requests.Request,
    session: AgentSession,
    callback: callbacks.AgentResponseCallbackProtocol | None,
    context: callbacks.AgentCallbackContext,
    timeout: float | None = None,
) -> AgentResponse[Any]:
    """Run an agent for one turn.

    Args:
        agent: A copy for this turn alone.
        request: What it is asked.
        session: The session it sees and changes.
        callback: Who is told of the answer.
        context: What they are told with it.
        timeout: How long it may take, seconds; None for any time.

    Raises:
        Broken: If it raised; its cause says what, and it has what had come.
        Unfit: If it cannot do what is asked, or its answer is not what was asked for.
    """
    given = _arguments(agent, request)
    request = _approved(agent, request, session)
    streams = callback is not None and takes(agent.run, "stream")
    heard: list[AgentResponseUpdate] = []
    response: Any = None
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            if callback is not None and streams:
                begun = agent.run(list(request.messages), stream=True, session=session, **given)
                response = await streamed(begun, callback, context, heard)
            else:
                response = await agent.run(list(request.messages), session=session, **given)
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, TimeoutError) and limit.expired():
            late = TimeoutError(f"Agent {context.agent_name!r} did not answer within {timeout:g} s; it was cancelled.")
            raise Broken(_joined(heard)) from late
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        raise Broken(_joined(heard)) from _contained(error, context.agent_name)
    finally:
        await connections.close(agent)
    if not isinstance(response, AgentResponse):
        raise Broken(None) from Unfit(
            f"Agent {context.agent_name!r} gave a {type(response).__name__}; run() must give an AgentResponse."
        )
    _check_format(request, response, context.agent_name)
    if callback is not None:
        await tell(callback.on_agent_response, response, context)
    return response


def _approved(agent: object, request: requests.Request, session: AgentSession) -> requests.Request:
    if isinstance(agent, workflow_agent.Sessioned):
        # It knows what it has asked, and reads the answers itself.
        return request
    try:
        return msgspec.structs.replace(request, messages=tuple(approvals.resolved(request.messages, session)))
    except approvals.NothingAsked as error:
        raise Broken(None) from error


async def streamed(
    begun: Any,
    callback: callbacks.AgentResponseCallbackProtocol,
    context: callbacks.AgentCallbackContext,
    heard: list[AgentResponseUpdate],
) -> Any:
    """Read a stream to its end, telling the callback of each piece; gives the whole.

    Args:
        begun: What ``run(stream=True)`` gave.
        callback: Who is told.
        context: What they are told with it.
        heard: Takes the pieces, so that they are there if it breaks off.
    """
    stream: Any = begun if isinstance(begun, AsyncIterable) else await begun
    async for update in stream:
        heard.append(update)
        await tell(callback.on_streaming_response_update, update, context)
    final = getattr(stream, "get_final_response", None)
    return await final() if final is not None else AgentResponse.from_updates(heard)


async def tell(method: Any, what: Any, context: callbacks.AgentCallbackContext) -> None:
    """Call a method of a callback, plain or async; what it raises is logged, no more."""
    try:
        told = method(what, context)
        if inspect.isawaitable(told):
            await told
    except Exception:
        # Who listens does not decide what the agent said.
        logger.exception("A callback of agent %r raised.", context.agent_name)


def _arguments(agent: Any, request: requests.Request) -> dict[str, Any]:
    options = dict(request.options)
    if request.response_format is not None:
        options["response_format"] = request.response_format
    if not request.tools:
        _take_tools(agent)
        options["tool_choice"] = NO_TOOLS
    if not options:
        return {}
    if not takes(agent.run, "options"):
        raise Broken(None) from Unfit(
            f"A {type(agent).__name__} takes no options, so it cannot be given {', '.join(sorted(options))}.",
            "Leave them out, or host an agent whose run() takes options=.",
        )
    return {"options": options}


def _take_tools(agent: Any) -> None:
    """Take its tools from a copy of an agent: a model that is not offered a tool does not ask for it."""
    defaults = getattr(agent, "default_options", None)
    if isinstance(defaults, dict):
        defaults.pop("tools", None)
    if getattr(agent, "mcp_tools", None):
        agent.mcp_tools = []


def takes(run: Any, name: str) -> bool:
    """Say whether an agent's ``run`` has an argument of this name."""
    parameters = inspect.signature(run).parameters
    return name in parameters or any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())


def _joined(heard: list[AgentResponseUpdate]) -> AgentResponse[Any] | None:
    return AgentResponse.from_updates(heard) if heard else None


def _contained(error: BaseException, name: str) -> Exception:
    if isinstance(error, Exception):
        return error
    what = f"called sys.exit({error.code!r})" if isinstance(error, SystemExit) else "was cancelled by what it awaited"
    left = AgentLeft(f"Agent {name!r} {what}.")
    left.__cause__ = error
    return left


def _check_format(request: requests.Request, response: AgentResponse[Any], name: str) -> None:
    if request.response_format is None:
        return
    try:
        # Looking parses it.
        found = response.value
    except ValueError as error:
        raise Broken(response) from Unfit(
            f"Agent {name!r} was asked for structured output and its answer does not parse: {error}"
        )
    if found is None and response.text == "":
        raise Broken(response) from Unfit(f"Agent {name!r} was asked for structured output and answered nothing.")
