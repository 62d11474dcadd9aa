"""Connections of agents to MCP servers: a step that opens them closes them, so that no run leaves any behind."""

from __future__ import annotations

import logging
from typing import Any

from agent_framework import BaseAgent, Executor

logger = logging.getLogger("perdure")


async def close(agent: Any) -> None:
    """Close what an agent opened; in the task that opened it, which is where it must be closed."""
    if not getattr(agent, "mcp_tools", None):
        return
    try:
        await agent.close()
    except Exception:
        # The answer is there already, and a server that went away is not a reason to lose it.
        logger.warning("Agent %r could not close its connections to MCP servers.", agent.name, exc_info=True)


async def close_all(executor: Executor) -> None:
    """Close what the agents of a run's copy of an executor opened."""
    for held in vars(executor).values():
        if isinstance(held, BaseAgent):
            await close(held)
