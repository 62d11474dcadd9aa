"""What a local host prints: a line per run start, superstep and end, for people or as JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import functools
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import click
import msgspec

from perdure.routes import runs, views

SHOWN_ID_CHARACTERS = 12
SHOWN_EXECUTORS = 8

_QUIET_LOGGERS = ("uvicorn", "asyncio", "agent_framework", "azure", "mcp")
_BARRIERS = frozenset({"superstep_started", "superstep_completed", "completed", "failed", "terminated", "parked"})
_ENDS = {"completed": "green", "failed": "red", "terminated": "yellow", "parked": "yellow"}


@dataclasses.dataclass(slots=True)
class _Progress:
    """What a run's next line is made from."""

    started: float | None = None
    superstep: int | None = None
    began: float | None = None
    executors: list[str] = dataclasses.field(default_factory=list)


class RunLog:
    """Writes a line for what matters of each run's events.

    Args:
        stream: Where to.
        as_json: One JSON object a line, of every event, instead of lines for people.

    Attributes:
        as_json: Whether lines are JSON.
    """

    def __init__(self, stream: TextIO | None = None, *, as_json: bool = False) -> None:
        self._stream = stream or sys.stdout
        self.as_json = as_json
        self._colour = not as_json and self._stream.isatty()
        self._progress: dict[str, _Progress] = {}
        self._lines: list[str] = []
        self._due = False
        self._speaker: str | None = None

    def event(self, run_id: str, workflow: str, event: runs.Event) -> None:
        """Tell of an event of a run."""
        if self.as_json:
            shown = {"time": views.iso(event.time), "run": run_id, "workflow": workflow, "event": event.type}
            self._write(msgspec.json.encode({**event.data, **shown}).decode())
            return
        if event.type == runs.DELTA:
            self._speak(_executor(event.data), _spoken(event.data["data"]))
            return
        for text, colour in self._said(run_id, event):
            self._line(event.time, f"{workflow} {_short(run_id)}", text, colour)

    def _said(self, run_id: str, event: runs.Event) -> Iterator[tuple[str, str | None]]:
        kind, data = event.type, event.data
        progress = self._progress.setdefault(run_id, _Progress())
        if kind == "executor_invoked":
            progress.executors.append(_executor(data) or "?")
        elif kind in _BARRIERS:
            # Whoever passes events on may leave out those that end a superstep: the next thing ends it too.
            yield from _superstep(progress, event.time)
        if kind == "superstep_started":
            progress.superstep, progress.began, progress.executors = data.get("superstep"), event.time, []
        elif kind == "started":
            progress.started = event.time
            yield "started", None
        elif kind in ("warning", "executor_failed", "error"):
            who = f"{_executor(data)}: " if data.get("executorId") else ""
            yield f"{kind.replace('_', ' ')}: {who}{_reason(data, '')}", "yellow"
        elif kind in _ENDS:
            del self._progress[run_id]
            yield f"{kind}{_took(progress.started, event.time)}{_reason(data)}", _ENDS[kind]
            for line in _frames(data):
                yield line, None

    def say(self, text: str) -> None:
        """Print a line as it is; nothing where lines are JSON."""
        if not self.as_json:
            self._write(text)

    def note(self, text: str, colour: str | None = None) -> None:
        """Tell something of the host itself."""
        if self.as_json:
            self._write(msgspec.json.encode({"time": views.iso(time.time()), "message": text}).decode())
        else:
            self._line(time.time(), "perdure", text, colour)

    def _line(self, moment: float, who: str, text: str, colour: str | None) -> None:
        clock = f"{_clock(int(moment))}.{int(moment % 1 * 1000):03d}"
        shown = _printable(text)
        if self._colour:
            shown = click.style(shown, fg=colour) if colour else shown
            self._write(f"{click.style(f'[{clock}] {_printable(who)}', dim=True)} {shown}")
        else:
            self._write(f"[{clock}] {_printable(who)} {shown}")

    def _speak(self, speaker: str, text: str) -> None:
        """Go on with what somebody says, in lines that nobody takes for the log's own."""
        if not text:
            return
        if speaker != self._speaker:
            self._fall_silent()
            self._print(f"    {_printable(speaker)}: ")
            self._speaker = speaker
        self._print("\n    ".join(_printable(line) for line in text.split("\n")))

    def _fall_silent(self) -> None:
        if self._speaker is not None:
            self._print("\n")
        self._speaker = None

    def _write(self, line: str) -> None:
        """Print a line."""
        self._fall_silent()
        self._print(f"{line}\n")

    def _print(self, text: str) -> None:
        """Print; on a loop what one round of it brings is printed together."""
        self._lines.append(text)
        if self._due:
            return
        try:
            asyncio.get_running_loop().call_soon(self._flush)
        except RuntimeError:
            self._flush()
        else:
            self._due = True

    def _flush(self) -> None:
        self._due = False
        text = "".join(self._lines)
        self._lines.clear()
        self._stream.write(text)
        self._stream.flush()


class JsonFormatter(logging.Formatter):
    """Formats log records as JSON, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Give a record as a JSON object on one line."""
        shown: dict[str, Any] = {
            "time": views.iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            shown["exception"] = self.formatException(record.exc_info)
        return json.dumps(shown, ensure_ascii=False)


def pass_through(*, as_json: bool = False) -> None:
    """Let what user code logs reach standard error, unless that code sets up logging itself.

    Call it before the app is loaded. It puts no handler anywhere: one there would disable ``logging.basicConfig``.
    """
    for name in _QUIET_LOGGERS:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    handler = logging.StreamHandler()
    if as_json:
        handler.setFormatter(JsonFormatter())
    else:
        layout = "[%(asctime)s.%(msecs)03d] %(name)s %(levelname)s %(message)s"
        handler.setFormatter(logging.Formatter(layout, "%H:%M:%S"))
    logging.lastResort = handler
    logging.getLogger().setLevel(logging.INFO)


def _short(run_id: str) -> str:
    return run_id if len(run_id) <= SHOWN_ID_CHARACTERS else f"{run_id[:SHOWN_ID_CHARACTERS]}…"


def _superstep(progress: _Progress, now: float) -> Iterator[tuple[str, str | None]]:
    if progress.superstep is not None:
        yield f"superstep {progress.superstep}{_listed(progress.executors)}{_took(progress.began, now)}", None
    progress.superstep, progress.began, progress.executors = None, None, []


def _listed(executors: list[str]) -> str:
    if not executors:
        return ""
    more = f" and {len(executors) - SHOWN_EXECUTORS} more" if len(executors) > SHOWN_EXECUTORS else ""
    return f": {', '.join(executors[:SHOWN_EXECUTORS])}{more}"


def _took(start: float | None, end: float) -> str:
    if start is None:
        return ""
    seconds = max(0.0, end - start)
    return f" ({seconds * 1000:.0f} ms)" if seconds < 1 else f" ({seconds:.1f} s)"


def _executor(data: Mapping[str, Any]) -> str:
    """Name the executor of an event, after those that wrap the sub-workflow that it is in."""
    return "/".join([*data.get("path", ()), str(data.get("executorId", ""))])


def _spoken(update: Mapping[str, Any]) -> str:
    """Give the text of a part of an answer; one that replaces the parts before it says nothing new."""
    said = (part for part in update["contents"] if part["type"] == "text" and part.get("merge_mode") != "replace")
    return "".join(part["text"] for part in said)


def _reason(data: dict[str, Any], lead: str = ": ") -> str:
    error = data.get("error")
    if isinstance(error, dict):
        return f"{lead}{error.get('type', 'Error')}: {error.get('message', '')}"
    told = error or data.get("reason") or data.get("message") or data.get("data")
    return f"{lead}{told}" if told else ""


def _frames(data: dict[str, Any]) -> list[str]:
    error = data.get("error")
    return str(error.get("traceback", "")).splitlines() if isinstance(error, dict) else []


@functools.lru_cache(maxsize=4)
def _clock(second: int) -> str:
    return datetime.datetime.fromtimestamp(second).strftime("%H:%M:%S")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    # A user's value must not move the cursor or forge a line.
    return "".join(sign if sign.isprintable() else " " for sign in text)
