"""Functions with timer triggers, run by their schedules."""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol

import croniter  # type: ignore[import-untyped]  # it ships no types
import msgspec
from azure.functions import timer

from perdure import errors, tracebacks
from perdure.engine import engine
from perdure.hosts.local.functions import declared, invocation

KEPT_UNDER = "@timer"
MONITORED_SECONDS = 60.0
"""Schedules that are due more often are not watched for what was missed, as on Azure."""

_SETTING = re.compile(r"%([^%]+)%")
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2}))?")
_FIELDS = (5, 6)

log = logging.getLogger("perdure.functions")


class Schedule(Protocol):
    """Says when a timer is due."""

    def after(self, moment: float) -> float:
        """Give the first time after a moment; both in seconds since the epoch."""
        ...


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """When a timer last ran and was to run next, seconds since the epoch."""

    last: float
    next: float


class _Cron:
    def __init__(self, text: str) -> None:
        self._text = text
        self._seconds = len(text.split()) == max(_FIELDS)

    def after(self, moment: float) -> float:
        start = datetime.datetime.fromtimestamp(moment, datetime.UTC)
        # A day of the month and a day of the week must both hold there, unlike in cron.
        found = croniter.croniter(self._text, start, second_at_beginning=self._seconds, day_or=False)
        due: datetime.datetime = found.get_next(datetime.datetime)
        return due.timestamp()


class _Every:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def after(self, moment: float) -> float:
        return moment + self._seconds


def schedule_of(text: str, settings: Mapping[str, str]) -> Schedule:
    """Read a schedule: an NCRONTAB expression in UTC, a time span such as ``00:05:00``, or ``%SETTING%``.

    Raises:
        UsageError: If it is none of these.
    """

    def setting(found: re.Match[str]) -> str:
        if found[1] not in settings:
            raise errors.UsageError(f"There is no setting {found[1]!r}.", "Set it in local.settings.json.")
        return settings[found[1]]

    text = _SETTING.sub(setting, text).strip()
    span = _SPAN.fullmatch(text)
    if span is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
        total = datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
        if total > 0:
            return _Every(total)
    if len(text.split()) in _FIELDS and croniter.croniter.is_valid(
        text, second_at_beginning=len(text.split()) == max(_FIELDS)
    ):
        return _Cron(text)
    raise errors.UsageError(
        f"{text!r} is no schedule.",
        'Give six fields, such as "0 */5 * * * *" (second, minute, hour, day, month, day of the week), or a time span.',
    )


class Timers:
    """The timers of an app.

    Args:
        functions: The functions of the app.
        invoker: What calls them.
        settings: The app's settings.

    Raises:
        UsageError: If a schedule cannot be read.
    """

    def __init__(self, functions: declared.Declared, invoker: invocation.Invoker, settings: Mapping[str, str]) -> None:
        self._invoker = invoker
        self._timers: list[tuple[declared.Function, Schedule]] = []
        for function in functions.timer.values():
            try:
                self._timers.append((function, schedule_of(function.trigger.schedule, settings)))
            except errors.UsageError as error:
                told = f"The timer of function {function.name!r} cannot be used: {error.message}"
                raise errors.UsageError(told, error.remedy) from error
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, durable: engine.Engine) -> None:
        """Begin to wait."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(durable, *each)) for each in self._timers]

    async def close(self) -> None:
        """Stop waiting."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, durable: engine.Engine, function: declared.Function, schedule: Schedule) -> None:
        now = time.time()
        due = schedule.after(now)
        monitored = function.trigger.use_monitor is not False and schedule.after(due) - due >= MONITORED_SECONDS
        found = durable.entity(KEPT_UNDER, function.name) if monitored else None
        kept = _Kept(0.0, 0.0) if found is None else msgspec.msgpack.decode(found, type=_Kept)
        missed = kept.next > 0.0 and kept.next <= now
        if missed or function.trigger.run_on_startup:
            await self._fire(function, kept, past_due=missed)
            kept = _Kept(now, due)
        while True:
            due = schedule.after(max(time.time(), kept.last))
            kept = _Kept(kept.last, due)
            if monitored:
                await durable.put_entity(KEPT_UNDER, function.name, msgspec.msgpack.encode(kept))
            # A clock that was set back wakes it early.
            while (left := due - time.time()) > 0:
                await asyncio.sleep(left)
            await self._fire(function, kept, past_due=False)
            kept = _Kept(due, due)

    async def _fire(self, function: declared.Function, kept: _Kept, *, past_due: bool) -> None:
        status = {"Last": _told(kept.last), "Next": _told(kept.next), "LastUpdated": _told(kept.last)}
        request = timer.TimerRequest(past_due=past_due, schedule_status=status, schedule={"AdjustForDST": True})
        try:
            await self._invoker.call(function, request)
        except Exception as error:
            log.error("Function %r failed:\n%s", function.name, tracebacks.user_frames(error))


def _told(moment: float) -> Any:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
