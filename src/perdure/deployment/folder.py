"""An app's folder as it would be published: its files read once, its code looked at without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from perdure.hosts.local import jsonc

SKIPPED: Final = frozenset(
    {".venv", "venv", ".git", ".perdure", "__pycache__", "node_modules", ".python_packages", "tests"}
)


@dataclass(frozen=True, slots=True)
class Folder:
    """What an app's folder says.

    Attributes:
        path: The folder.
        host: ``host.json``; empty if it is not there.
        settings: ``Values`` of ``local.settings.json``.
        encrypted: Whether ``local.settings.json`` is.
        requirements: The lines of ``requirements.txt``; None if it is not there.
        funcignore: The patterns of ``.funcignore``; None if it is not there.
        gitignore: The patterns of ``.gitignore``; None if it is not there.
        imports: Top-level modules that the code imports, with the first file that does.
        variables: Environment variables that the code cannot do without, with the first file that reads each.
        unparsable: Files that are no Python, with the reason.
    """

    path: Path
    host: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool = False
    requirements: tuple[str, ...] | None = None
    funcignore: tuple[str, ...] | None = None
    gitignore: tuple[str, ...] | None = None
    imports: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    unparsable: Mapping[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Say whether there is such a file."""
        return (self.path / name).is_file()


def read(path: Path) -> Folder:
    """Read an app's folder.

    Raises:
        UsageError: If one of its JSON files cannot be read.
    """
    local = jsonc.read(path / "local.settings.json")
    values = local.get("Values")
    imports: dict[str, str] = {}
    variables: dict[str, str] = {}
    unparsable: dict[str, str] = {}
    for file in sources(path):
        shown = file.relative_to(path).as_posix()
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            unparsable[shown] = str(error)
            continue
        for name in _imports(tree):
            imports.setdefault(name, shown)
        for name in _variables(tree):
            variables.setdefault(name, shown)
    return Folder(
        path=path,
        host=jsonc.read(path / "host.json"),
        settings={name: str(value) for name, value in values.items()} if isinstance(values, dict) else {},
        encrypted=local.get("IsEncrypted") is True,
        requirements=_lines(path / "requirements.txt"),
        funcignore=_lines(path / ".funcignore"),
        gitignore=_lines(path / ".gitignore"),
        imports=imports,
        variables=variables,
        unparsable=unparsable,
    )


def sources(path: Path) -> Iterator[Path]:
    """Give the Python files of an app, without those of environments and tests."""
    for file in sorted(path.rglob("*.py")):
        parts = file.relative_to(path).parts
        if not any(part in SKIPPED or part.startswith(".") for part in parts[:-1]):
            yield file


def matches(patterns: tuple[str, ...] | None, name: str) -> bool:
    """Say whether patterns, as git and Core Tools have them, leave out a file or folder of the top level."""
    left_out = False
    for pattern in patterns or ():
        wanted = pattern.lstrip("!").strip("/")
        if fnmatch(name, wanted):
            left_out = not pattern.startswith("!")
    return left_out


def _lines(path: Path) -> tuple[str, ...] | None:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    found = (line.strip() for line in text.splitlines())
    return tuple(line for line in found if line and not line.startswith("#"))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _variables(tree: ast.AST) -> Iterator[str]:
    """The variables that are read with ``os.environ["NAME"]``: without them the code fails."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "environ"
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            yield node.slice.value
