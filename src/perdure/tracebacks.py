"""Tracebacks as the user should see them: their own frames, none of perdure's or the framework's."""

from __future__ import annotations

import pathlib
import time
import traceback
from types import TracebackType

import perdure
from perdure.workflow import failures, protocol

_OWN_FOLDER = str(pathlib.Path(perdure.__path__[0])) if perdure.__path__ else ""
_DEPTH_LIMIT = 8

CAUSED = "The above exception was the direct cause of the following exception:"
"""What stands between a cause and what it caused."""


def user_frames(error: BaseException) -> str:
    """Format an exception with only the frames outside perdure, the framework, the Functions SDK and asyncio.

    Causes, contexts and the members of exception groups are included. Where no such frame exists, only
    the exception lines remain.
    """
    return "".join(_format(error, 0)).rstrip("\n")


def failure(error: BaseException) -> protocol.Failure:
    """Describe an exception as the failure that is recorded."""
    return protocol.Failure(
        type(error).__name__,
        _text(error),
        user_frames(error),
        failures.kinds(error),
        failures.retry_after(error, time.time()),
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unprintable:
        return f"(its text cannot be had: {type(unprintable).__name__})"


def _format(error: BaseException, depth: int) -> list[str]:
    lines: list[str] = []
    before = error.__cause__
    link = CAUSED
    if before is None and not error.__suppress_context__:
        before = error.__context__
        link = "During handling of the above exception, another exception occurred:"
    if before is not None and depth < _DEPTH_LIMIT:
        lines += [*_format(before, depth + 1), f"\n{link}\n\n"]
    frames = [frame for frame in _frames(error.__traceback__) if not _hidden(frame.filename)]
    if frames:
        lines += ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    try:
        lines += traceback.format_exception_only(error)
    except Exception:
        lines.append(f"{type(error).__name__}: {_text(error)}\n")
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH_LIMIT:
        for number, member in enumerate(error.exceptions, 1):
            lines.append(f"  ---- {number} ----\n")
            text = "".join(_format(member, depth + 1))
            lines += [f"  {line}\n" for line in text.splitlines()]
    return lines


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(trace)) if trace is not None else []


def _hidden(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return True
    if _OWN_FOLDER and filename.startswith(_OWN_FOLDER):
        return True
    path = filename.replace("\\", "/")
    if any(package in path for package in ("/azure/durable_functions/", "concurrent/futures")):
        return True
    parts = path.split("/")
    return any(part in parts for part in ("agent_framework", "asyncio"))
