"""JSON as the Functions files have it: comments allowed, mistakes told with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perdure import errors


def read(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; a file that is not there is an empty one.

    Raises:
        UsageError: If it cannot be read, or is no JSON object: with file, line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(f"{path} cannot be read: {error}.") from error
    try:
        value = json.loads(blanked(text))
    except json.JSONDecodeError as error:
        raise errors.UsageError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}.", "Correct it there."
        ) from error
    if not isinstance(value, dict):
        raise errors.UsageError(f"{path} must hold a JSON object.", 'Put it in braces: {"version": "2.0"}.')
    return value


def read_strictly(path: Path) -> dict[str, Any]:
    """Read a JSON object without comments; raises as :func:`read` does."""
    found = read(path)
    if found:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise errors.UsageError(
                f"{path} has comments or a byte order mark, which azure-functions-durable cannot read: {error}.",
                "Take them out.",
            ) from error
    return found


def blanked(text: str) -> str:
    """Give JSON with its comments replaced by spaces, so that places stay what they were."""
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == '"':
            end = _string_end(text, at)
            out.append(text[at:end])
        elif text.startswith("//", at):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            out.append(" " * (end - at))
        elif text.startswith("/*", at):
            close = text.find("*/", at + 2)
            end = len(text) if close < 0 else close + 2
            out.append("".join(sign if sign == "\n" else " " for sign in text[at:end]))
        else:
            end = at + 1
            out.append(text[at])
        at = end
    return "".join(out)


def _string_end(text: str, start: int) -> int:
    at = start + 1
    while at < len(text) and text[at] not in '"\n':
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))
