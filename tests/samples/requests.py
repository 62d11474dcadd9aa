"""The requests of a sample: those of its demo.http, and the curl commands of its README."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

_VARIABLE = re.compile(r"\{\{\s*(.+?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is written, its variables not filled in.

    Attributes:
        title: What stands after ``###``.
        name: What others call its answer, from ``# @name``.
        method: The method.
        url: The address.
        headers: The headers, names in lower case.
        body: The body; empty for none.
    """

    title: str
    name: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: str

    def filled(self, value: Callable[[str], str]) -> Request:
        """Fill variables in."""

        def fill(text: str) -> str:
            return _VARIABLE.sub(lambda found: value(found[1]), text)

        headers = {name: fill(told) for name, told in self.headers.items()}
        return replace(self, url=fill(self.url), headers=headers, body=fill(self.body))


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo.http, read.

    Attributes:
        requests: Its requests in order.
        variables: Its ``@name = value`` lines.
    """

    requests: tuple[Request, ...]
    variables: Mapping[str, str]


def demo(file: pathlib.Path) -> Demo:
    """Read a demo.http."""
    first, *parts = re.split(r"^###", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    variables = _variables(first)
    for part in parts:
        variables |= _variables(part)
    return Demo(tuple(_request(part) for part in parts), variables)


def _variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"^@(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE))


def _request(text: str) -> Request:
    title, _, rest = text.partition("\n")
    named = re.search(r"^# @name (\w+)$", rest, re.MULTILINE)
    lines = [line for line in rest.splitlines() if not line.startswith(("#", "@"))]
    head, _, body = "\n".join(lines).strip().partition("\n\n")
    first, *headers = head.splitlines()
    method, url = first.split()
    told = dict(line.split(": ", 1) for line in headers)
    named_as = named[1] if named is not None else ""
    return Request(title.strip(), named_as, method, url, {key.lower(): told[key] for key in told}, body.strip())


def curls(page: pathlib.Path) -> Iterator[Request]:
    """Read the curl commands of a page; an upper-case word in an address is a variable."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for command in re.sub(r"\\\n\s*", "", block).splitlines():
            if command.startswith("$ curl "):
                yield _curl(shlex.split(command)[2:])


def _curl(words: list[str]) -> Request:
    method, url, body = "", "", ""
    headers: dict[str, str] = {}
    upcoming = iter(words)
    for word in upcoming:
        if word == "-X":
            method = next(upcoming)
        elif word == "-H":
            name, told = next(upcoming).split(": ", 1)
            headers[name.lower()] = told
        elif word == "-d":
            body = next(upcoming)
        elif not word.startswith("-"):
            url = word if "://" in word else f"http://{word}"
    return Request("", "", method or ("POST" if body else "GET"), url, headers, body)


def found(path: str, body: Any) -> str:
    """Follow a path such as ``$.items[0].id`` into a JSON body."""
    for key, index in re.findall(r"(\w+)|\[(\d+)\]", path.removeprefix("$")):
        body = body[key] if key else body[int(index)]
    return body if isinstance(body, str) else json.dumps(body)
