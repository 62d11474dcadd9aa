"""The files that an app needs on Azure, put into its folder: what is there stays, what is missing is added."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from perdure import errors
from perdure.deployment import arm, checks, folder, provenance, requirement_lines
from perdure.hosts.local import jsonc

DEFAULT_HUB: Final = "perdure"

FUNCIGNORE: Final = (
    ".git*",
    ".vscode",
    ".venv",
    ".perdure",
    ".azurite",
    "__pycache__",
    "local.settings.json",
    "infra",
    "tests",
)
GITIGNORE: Final = ("local.settings.json", ".perdure/", ".azurite/", "__pycache__/", ".venv/")


def write(
    target: Path, plan: arm.Plan, backend: arm.Backend, wheel: Path | None, origin: provenance.Origin
) -> Iterator[str]:
    """Write them, and say of each what was done.

    Args:
        target: The app's folder.
        plan: The plan that the app is to run on.
        backend: Where Durable Functions keeps its own.
        wheel: perdure as a wheel, to publish that instead of what runs here.
        origin: Where the perdure that runs here came from.

    Raises:
        UsageError: If a file cannot be read or written, or the wheel is none of perdure.
    """
    app = folder.read(target)
    hub = app.settings.get("TASKHUB_NAME") or DEFAULT_HUB
    try:
        yield _merge(target / "host.json", _host(backend))
        yield _merge(target / "local.settings.json", _local(hub, backend))
        yield _add_requirement(target, app, wheel, origin)
        yield _add_lines(target / ".funcignore", app.funcignore, FUNCIGNORE)
        yield _add_lines(target / ".gitignore", app.gitignore, GITIGNORE)
        infra = target / "infra"
        infra.mkdir(exist_ok=True)
        yield _make(infra / "main.json", _json(arm.template(plan, backend)))
        yield _make(infra / "parameters.json", _json(arm.parameters(hub)))
    except OSError as error:
        raise errors.UsageError(
            f"{error.filename or target} cannot be written: {error.strerror}.", "Look at its permissions."
        ) from error


def _host(backend: arm.Backend) -> dict[str, Any]:
    durable: dict[str, Any] = {"hubName": "%TASKHUB_NAME%"}
    if backend == "scheduler":
        durable["storageProvider"] = {
            "type": "azureManaged",
            "connectionStringName": "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
        }
    return {
        "version": "2.0",
        "logging": {"applicationInsights": {"samplingSettings": {"isEnabled": True, "excludedTypes": "Request"}}},
        "extensionBundle": {"id": checks.BUNDLE, "version": "[4.*, 5.0.0)"},
        "extensions": {"durableTask": durable},
    }


def _local(hub: str, backend: arm.Backend) -> dict[str, Any]:
    values = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "TASKHUB_NAME": hub,
    }
    if backend == "scheduler":
        values["DURABLE_TASK_SCHEDULER_CONNECTION_STRING"] = "Endpoint=http://localhost:8080;Authentication=None"
    return {"IsEncrypted": False, "Values": values}


def _merge(path: Path, wanted: dict[str, Any]) -> str:
    """Put what is missing into a JSON file; what it says already stays."""
    if not path.exists():
        return _make(path, _json(wanted))
    found = jsonc.read(path)
    added = list(_missing(found, wanted))
    if not added:
        return f"kept    {path.name}: it has all that is needed"
    if jsonc.blanked(path.read_text(encoding="utf-8-sig")) != path.read_text(encoding="utf-8"):
        return f"kept    {path.name}: it has comments; add by hand: {', '.join(added)}"
    _fill(found, wanted)
    path.write_text(_json(found), encoding="utf-8")
    return f"changed {path.name}: added {', '.join(added)}"


def _missing(found: dict[str, Any], wanted: dict[str, Any], where: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        if key not in found:
            yield f"{where}{key}"
        elif isinstance(value, dict) and isinstance(found[key], dict):
            yield from _missing(found[key], value, f"{where}{key}.")


def _fill(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if key not in found:
            found[key] = value
        elif isinstance(value, dict) and isinstance(found[key], dict):
            _fill(found[key], value)


def _add_requirement(target: Path, app: folder.Folder, wheel: Path | None, origin: provenance.Origin) -> str:
    path = target / "requirements.txt"
    line = origin.requirement
    if wheel is not None:
        if not (wheel.is_file() and wheel.name.startswith("perdure-") and wheel.suffix == ".whl"):
            raise errors.UsageError(f"{wheel} is no wheel of perdure.", "Make one: python -m pip wheel --no-deps .")
        _copy(wheel, target)
        line = f"./{provenance.WHEELS}/{wheel.name}[azure]"
    elif origin.wheel is not None and origin.wheel.is_file():
        _copy(origin.wheel, target)
    lines = list(app.requirements or ())
    own = [item for item in lines if requirement_lines.is_of(item, "perdure")]
    extras = sorted({"azure"}.union(*(requirement_lines.extras_of(item) for item in own)))
    line = line.replace("[azure]", f"[{','.join(extras)}]", 1)
    if line.startswith("perdure[") and "@" not in line:
        line += "".join(requirement_lines.pin_of(item) for item in own)
    if line in lines:
        return f"kept    {path.name}: it has {line}"
    # What somebody pinned, or what an index has, is theirs to choose.
    bare = all(re.fullmatch(r"perdure(\[[^\]]*\])?", item) for item in own)
    suits = all("azure" in requirement_lines.extras_of(item) for item in own)
    if own and wheel is None and (origin.is_release or not bare) and suits:
        return f"kept    {path.name}: it has {own[0]}"
    text = path.read_text(encoding="utf-8-sig") if app.requirements is not None else ""
    # A line that names perdure gives way: two would be installed against each other.
    rest = [item for item in text.splitlines() if item.strip() not in own]
    path.write_text("\n".join([line, *rest]).rstrip("\n") + "\n", encoding="utf-8")
    made = "made   " if app.requirements is None else "changed"
    return f"{made} {path.name}: {line}" + (f" instead of {', '.join(own)}" if own else "")


def _copy(wheel: Path, target: Path) -> None:
    (target / provenance.WHEELS).mkdir(exist_ok=True)
    copy = target / provenance.WHEELS / wheel.name
    if not (copy.exists() and copy.samefile(wheel)):
        shutil.copy2(wheel, copy)


def _add_lines(path: Path, there: tuple[str, ...] | None, wanted: tuple[str, ...]) -> str:
    if there is None:
        return _make(path, "\n".join(wanted) + "\n")
    missing = [line for line in wanted if not folder.matches(there, line.rstrip("/"))]
    if not missing:
        return f"kept    {path.name}: it has all that is needed"
    text = path.read_text(encoding="utf-8-sig").rstrip("\n")
    path.write_text("\n".join([text, *missing]).lstrip("\n") + "\n", encoding="utf-8")
    return f"changed {path.name}: added {', '.join(missing)}"


def _make(path: Path, text: str) -> str:
    shown = path.name if path.parent.name != "infra" else f"infra/{path.name}"
    if path.exists():
        same = path.read_text(encoding="utf-8") == text
        return f"kept    {shown}" + (
            "" if same else ": it differs from what would be made; delete it to have it made anew"
        )
    path.write_text(text, encoding="utf-8")
    return f"made    {shown}"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
