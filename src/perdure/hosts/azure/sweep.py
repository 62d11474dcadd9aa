"""A function with a timer: it deletes what expired sessions have left for which no turn comes, and what came late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func

NAME: Final = "perdure-sweep"
SCHEDULE: Final = "0 23 3 * * *"
"""Once a day, at 3:23 UTC: nothing that is swept is shown to anybody meanwhile."""


def add(app: df.DFApp, sweep: Callable[[df.DurableOrchestrationClient], Awaitable[None]]) -> None:
    """Add the function.

    Args:
        app: The app.
        sweep: Does it, by the client of one invocation.
    """

    async def swept(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
        await sweep(client)

    bound = app.durable_client_input("client")(swept)
    app.function_name(NAME)(app.timer_trigger(arg_name="timer", schedule=SCHEDULE)(bound))
