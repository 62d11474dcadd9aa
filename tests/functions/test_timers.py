from __future__ import annotations

import asyncio
import datetime
import time

import msgspec
import pytest

from perdure import errors
from perdure.engine import engine
from perdure.hosts.local.functions import timers

from .conftest import Serve, Served

APP = """
# mypy: ignore-errors
import asyncio

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
ticks: asyncio.Queue[func.TimerRequest] = asyncio.Queue()
{decorator}
@app.durable_client_input(client_name="client")
async def tick(timer: func.TimerRequest, client) -> None:
    await client.start_new("swept", "swept")
    await ticks.put(timer)


@app.orchestration_trigger(context_name="context")
def swept(context):
    return "clean"
"""
EVERY_SECOND = '@app.timer_trigger(schedule="* * * * * *", arg_name="timer")'
YEARLY = '@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer"{more})'


@pytest.mark.parametrize(
    ("text", "moment", "due"),
    [
        ("0 */5 * * * *", "2026-01-01T00:01:00", "2026-01-01T00:05:00"),
        ("*/10 * * * * *", "2026-01-01T00:00:01", "2026-01-01T00:00:10"),
        ("0 30 9 * * Mon-Fri", "2026-01-02T10:00:00", "2026-01-05T09:30:00"),
        ("30 9 * * *", "2026-01-02T10:00:00", "2026-01-03T09:30:00"),
        ("0 0 0 13 * Fri", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),
        ("00:05:00", "2026-01-01T00:00:01", "2026-01-01T00:05:01"),
        ("1.00:00:00", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("%WHEN%", "2026-01-01T00:00:01", "2026-01-01T01:00:00"),
    ],
)
def test_a_schedule_is_read_as_on_azure(text: str, moment: str, due: str) -> None:
    def at(iso: str) -> float:
        return datetime.datetime.fromisoformat(f"{iso}+00:00").timestamp()

    assert timers.schedule_of(text, {"WHEN": "0 0 * * * *"}).after(at(moment)) == at(due)


@pytest.mark.parametrize("text", ["", "every day", "* * *", "99 * * * * *", "00:00:00", "%NONE%"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError):
        timers.schedule_of(text, {})


async def test_a_timer_runs_by_its_schedule_and_may_start_orchestrations(serve: Serve) -> None:
    served: Served = await serve(APP.format(decorator=EVERY_SECOND))

    async with asyncio.timeout(20):
        request = await served.module.ticks.get()

    assert not request.past_due
    assert (await served.ended("swept"))["output"] == "clean"


async def test_a_timer_runs_at_the_start_if_asked_to(serve: Serve) -> None:
    served: Served = await serve(APP.format(decorator=YEARLY.format(more=", run_on_startup=True")))

    async with asyncio.timeout(20):
        assert not (await served.module.ticks.get()).past_due


async def test_a_time_that_was_missed_is_made_up_for(serve: Serve) -> None:
    served: Served = await serve(APP.format(decorator=YEARLY.format(more="")))
    missed = time.time() - 60
    await served.host.crash()
    hub = engine.Engine(served.host.hub, orchestrators={}, activities={})
    await hub.start()
    await hub.put_entity(timers.KEPT_UNDER, "tick", msgspec.msgpack.encode([missed - 60, missed]))
    await hub.close()
    await served.host.restart()

    async with asyncio.timeout(20):
        assert (await served.module.ticks.get()).past_due


async def test_a_schedule_that_cannot_be_read_is_told_at_the_start(serve: Serve) -> None:
    with pytest.raises(errors.UsageError, match=r"timer of function 'tick'.*'often' is no schedule"):
        await serve(APP.format(decorator='@app.timer_trigger(schedule="often", arg_name="timer")'))
