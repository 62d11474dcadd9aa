"""A function with a timer: what expired sessions have left is deleted although no turn comes that begins them anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func

from perdure.hosts.azure import sessions

NAME: Final = "perdure-sweep"
SCHEDULE: Final = "0 23 3 * * *"
"""Once a day, at 3:23 UTC: an entity can set no timer, and who has expired is shown to nobody meanwhile."""


def add(app: df.DFApp, sessions_of: Callable[[df.DurableOrchestrationClient], sessions.EntitySessions]) -> None:
    """Add the function.

    Args:
        app: The app.
        sessions_of: Gives the sessions of its agents, for one invocation.
    """

    async def sweep(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
        await sessions_of(client).sweep()

    bound = app.durable_client_input("client")(sweep)
    app.function_name(NAME)(app.timer_trigger(arg_name="timer", schedule=SCHEDULE)(bound))
