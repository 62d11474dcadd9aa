from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

SOURCES = pathlib.Path(__file__).parents[2] / "src" / "perdure"
MODULES = sorted(SOURCES.rglob("*.py"))

# What a package may import of perdure's others; "cli", "testing" and the modules beside them may import all.
ALLOWED: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "loops": frozenset(),
    "platform": frozenset({"errors"}),
    "tracebacks": frozenset({"errors", "workflow.failures", "workflow.protocol"}),
    "payloads": frozenset({"errors", "loops", "platform"}),
    "workflow": frozenset({"errors", "tracebacks", "tracing", "payloads", "journal"}),
    "agents": frozenset({"errors", "tracebacks", "tracing", "payloads", "workflow", "journal"}),
    "engine": frozenset({"errors", "platform", "tracebacks", "payloads", "workflow.protocol"}),
    "routes": frozenset({"errors", "payloads", "workflow", "agents"}),
    "journal": frozenset({"errors", "payloads"}),
}
FRAMEWORK_PRIVATES = {pathlib.PurePosixPath(f"workflow/{name}.py") for name in ("graph", "functional_graph")}
POSIX_CALLS = pathlib.PurePosixPath("platform.py")

POSIX_ONLY_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_ONLY_NAMES = {
    "os": {"fdatasync", "fork", "forkpty", "geteuid", "getpgid", "getuid", "kill", "killpg", "nice", "O_DIRECTORY"}
    | {"posix_fadvise", "posix_fallocate", "pread", "pwrite", "setpgid", "setsid", "statvfs", "sync", "uname"},
    "signal": {"SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm", "pthread_kill", "setitimer"},
    "asyncio": {"add_signal_handler"},
}
SQL = re.compile(
    r"\s*(SELECT\b.+|INSERT\s+(OR\s+\w+\s+)?INTO\b.+|REPLACE\s+INTO\b.+|UPDATE\s+\w+\s+SET\b.+|DELETE\s+FROM\b.+"
    r"|WITH\s+\w+.*\bAS\s*\(.+|(CREATE|DROP|ALTER)\s+(UNIQUE\s+|TEMP\s+)?(TABLE|INDEX|VIEW|TRIGGER)\b.+|PRAGMA\s+\w+.*"
    r"|(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|VACUUM)(\s+(IMMEDIATE|EXCLUSIVE|DEFERRED|TRANSACTION|TO|INTO)\b.*)?;?)\s*",
    re.DOTALL,
)


def name_of(path: pathlib.Path) -> pathlib.PurePosixPath:
    return pathlib.PurePosixPath(path.relative_to(SOURCES).as_posix())


def dotted(path: pathlib.Path) -> tuple[str, ...]:
    """The module's name below ``perdure``."""
    parts = name_of(path).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Every module and name that a file imports, wherever in it, as full dotted names."""
    here = ("perdure", *name_of(path).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def of_perdure(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    for line, name in imports(path):
        if name.startswith("perdure."):
            yield line, name.removeprefix("perdure.")


@pytest.mark.parametrize("layer", ALLOWED)
def test_dependencies_point_down_the_layers(layer: str) -> None:
    allowed = {layer, "_version", *ALLOWED[layer]}
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in MODULES
        if dotted(path)[:1] == (layer,)
        for line, name in of_perdure(path)
        if not any(is_within(name, package) for package in allowed)
    ]
    assert not wrong, f"{layer} may import of perdure only {sorted(allowed)}"


def test_routes_know_no_host_and_no_engine() -> None:
    assert not {"engine", "hosts"} & ALLOWED["routes"]
    assert not {"engine", "hosts", "routes"} & ALLOWED["workflow"]


@pytest.mark.parametrize(("half", "other"), [("codec", "stores"), ("stores", "codec")])
def test_how_values_are_encoded_and_where_they_are_kept_know_nothing_of_each_other(half: str, other: str) -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in MODULES
        if dotted(path)[:2] == ("payloads", half)
        for line, name in of_perdure(path)
        if is_within(name, f"payloads.{other}")
    ]
    assert not wrong


def is_private(name: str) -> bool:
    return name.startswith("agent_framework") and any(
        part.startswith("_") and not part.startswith("__") for part in name.split(".")
    )


def test_framework_privates_are_touched_in_the_modules_for_them() -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for path in MODULES
        if name_of(path) not in FRAMEWORK_PRIVATES
        for line, name in imports(path)
        if is_private(name)
    ]
    assert not wrong, f"only {sorted(map(str, FRAMEWORK_PRIVATES))} may touch the framework's private names"


def posix_only(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    for line, name in imports(path):
        root, _, rest = name.partition(".")
        if root in POSIX_ONLY_MODULES or rest in POSIX_ONLY_NAMES.get(root, ()):
            yield line, name
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr in POSIX_ONLY_NAMES.get(owner, ()) or node.attr in POSIX_ONLY_NAMES["asyncio"]:
                yield node.lineno, f"{owner}.{node.attr}"


def test_posix_only_calls_live_in_one_module() -> None:
    wrong = [
        f"{name_of(path)}:{line} uses {name}"
        for path in MODULES
        if name_of(path) != POSIX_CALLS
        for line, name in posix_only(path)
    ]
    assert not wrong, f"only {POSIX_CALLS} may call what Windows has not"


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the constants that document, or that stand alone as a comment would."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_sql_statements_live_in_sql_files() -> None:
    wrong: list[str] = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        comments = docstrings(tree)
        wrong += [
            f"{name_of(path)}:{node.lineno} {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in comments
            and SQL.fullmatch(node.value)
        ]
    assert not wrong, "put the statement under a name in the .sql file beside the module"


@pytest.mark.parametrize(
    "text",
    ["SELECT 1", "INSERT OR IGNORE INTO runs VALUES (?)", "PRAGMA synchronous=FULL", "BEGIN IMMEDIATE", "COMMIT"],
)
def test_sql_is_recognised(text: str) -> None:
    assert SQL.fullmatch(text)


@pytest.mark.parametrize("text", ["Select a run.", "UPDATE", "Delete", "runs", "Insert a coin into it"])
def test_words_are_not_taken_for_sql(text: str) -> None:
    assert not SQL.fullmatch(text)
