"""What would fail once an app is published, or is worth knowing before: each finding with its remedy."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from packaging import requirements, utils

from perdure import errors
from perdure.deployment import folder, provenance, requirement_lines
from perdure.payloads.stores import storage_account

PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
"""Those that both Azure Functions and perdure run on."""

BUNDLE: Final = "Microsoft.Azure.Functions.ExtensionBundle"
NOT_PUBLISHED: Final = (".venv", ".perdure", ".azurite", "local.settings.json", ".git")
SETTINGS_OF_THE_PLATFORM: Final = frozenset({"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", "TASKHUB_NAME"})
PLACEHOLDER: Final = re.compile(r"%([^%\s]+)%")

_SOURCES: Final = Path(__file__).parents[1]
_HUB: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}")
_BUNDLE_VERSION: Final = re.compile(r"[\[(]\s*(\d+)")
_SECRET_NAME: Final = re.compile(r"(?i)(key|secret|token|password|connection_?string)$")


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be.

    Attributes:
        weight: ``error`` for what fails, ``warning`` for what may.
        what: What is wrong, and where.
        remedy: What to do.
    """

    weight: Literal["error", "warning"]
    what: str
    remedy: str


Findings = Iterator[Finding]


def of_folder(app: folder.Folder, environ: Mapping[str, str]) -> list[Finding]:
    """Look through an app's folder."""
    return [finding for check in _CHECKS for finding in check(app, {**app.settings, **environ})]


def of_perdure(app: folder.Folder, origin: provenance.Origin) -> Findings:
    """Look whether the app would be published with the perdure that runs here."""
    own = [line for line in app.requirements or () if requirement_lines.is_of(line, "perdure")]
    command = origin.command(app.path)
    for line in own:
        wheel = requirement_lines.WHEEL.match(line)
        if wheel is None:
            if not origin.is_release and " @ " not in line:
                yield _error(
                    f"requirements.txt has {line}, which is looked for on the package index; the perdure here is no "
                    f"release from there, it was installed from {origin.shown}.",
                    "Run `perdure azure init`: it names what is here instead"
                    + (f". Then build it: {command}" if command else "."),
                )
            continue
        file = app.path / wheel["path"]
        if not file.is_file():
            yield _error(
                f"requirements.txt names {wheel['path']}, which is not there.",
                f"Make it: {command}" if command else "Copy the wheel there, or name a release.",
            )
        elif file.name.split("-")[1] != origin.version:
            yield _warning(
                f"requirements.txt names {wheel['path']}, and here runs perdure {origin.version}.",
                "Publish what you have tried: perdure azure init --wheel PATH.",
            )
        elif origin.editable and file.stat().st_mtime < _changed(_SOURCES):
            yield _warning(
                f"{wheel['path']} is older than the code of perdure that runs here.", f"Make it anew: {command}"
            )


def _changed(sources: Path) -> float:
    """Say when the newest of some sources was changed."""
    return max(file.stat().st_mtime for file in sources.rglob("*.py"))


def _host_json(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    if not app.has("host.json"):
        yield _error("There is no host.json: the Functions host does not start.", "Run `perdure azure init`.")
        return
    if app.host.get("version") != "2.0":
        yield _error(f"host.json has version {app.host.get('version')!r}.", 'It must be "version": "2.0".')
    found = _object(app.host, "extensionBundle")
    version = _BUNDLE_VERSION.match(str(found.get("version", "")))
    if found.get("id") != BUNDLE or version is None:
        yield _error(
            "host.json names no extension bundle: there are no Durable Functions without it.",
            f'Add "extensionBundle": {{"id": "{BUNDLE}", "version": "[4.*, 5.0.0)"}}.',
        )
    elif int(version[1]) < 4:
        yield _error(
            f"host.json asks for extension bundle {found['version']}, which has an older Durable extension.",
            'Ask for "[4.*, 5.0.0)".',
        )


def _task_hub(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    durable = _object(_object(app.host, "extensions"), "durableTask")
    name = durable.get("hubName")
    if not isinstance(name, str) or not name:
        if app.has("host.json"):
            yield _warning(
                "host.json names no task hub: on Azure two apps of one storage account would share the default one.",
                'Add "extensions": {"durableTask": {"hubName": "%TASKHUB_NAME%"}}.',
            )
        return
    for setting in PLACEHOLDER.findall(name):
        if not environ.get(setting):
            yield _error(
                f"host.json's hubName is {name}, and {setting} is not set: the Functions host refuses to start.",
                f"Set {setting} in local.settings.json, and in the settings of the app on Azure.",
            )
            return
    resolved = PLACEHOLDER.sub(lambda found: environ[found[1]], name)
    provider = _object(durable, "storageProvider")
    managed = str(provider.get("type", "")).lower() == "azuremanaged"
    if not managed and not _HUB.fullmatch(resolved):
        yield _error(
            f"The task hub {resolved!r} has a name that Azure Storage refuses.",
            "It has 3 to 45 letters and digits and starts with a letter.",
        )
    if managed:
        setting = str(provider.get("connectionStringName") or "DURABLE_TASK_SCHEDULER_CONNECTION_STRING")
        if not environ.get(setting):
            yield _warning(
                f"host.json uses Durable Task Scheduler, and {setting} is not set here.",
                f"Set it: Endpoint=http://localhost:8080;Authentication=None for the emulator. {_ON_AZURE}",
            )


def _local_settings(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    if app.encrypted:
        yield _error("local.settings.json is encrypted.", "Run `func settings decrypt`, or set IsEncrypted to false.")
        return
    if not app.has("local.settings.json"):
        yield _warning("There is no local.settings.json: `func start` needs it.", "Run `perdure azure init`.")
        return
    if environ.get("FUNCTIONS_WORKER_RUNTIME") != "python":
        yield _error("FUNCTIONS_WORKER_RUNTIME is not python.", 'Set "FUNCTIONS_WORKER_RUNTIME": "python".')
    if not folder.matches(app.gitignore, "local.settings.json"):
        yield _warning(
            "local.settings.json is not in .gitignore: what secrets it has would be committed.",
            "Add the line local.settings.json to .gitignore.",
        )


def _storage(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    try:
        storage_account.of(environ)
    except errors.UsageError as error:
        yield _error(error.message, error.remedy)


def _requirements(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    if app.requirements is None:
        yield _error("There is no requirements.txt: nothing would be installed.", "Run `perdure azure init`.")
        return
    named = list(requirement_lines.named_in(app.requirements))
    own = [item for item in named if utils.canonicalize_name(item.name) == "perdure"]
    if not own:
        yield _error("requirements.txt does not name perdure.", "Run `perdure azure init`: it adds the line.")
    elif not any("azure" in item.extras for item in own):
        yield _error(
            "requirements.txt has perdure without its azure extra: payloads cannot go to Blob Storage.",
            "Run `perdure azure init`, or write perdure[azure].",
        )
    yield from _undeclared(app, named)


def _undeclared(app: folder.Folder, named: list[requirements.Requirement]) -> Findings:
    """What the code imports, is installed here, and would not be there."""
    there = requirement_lines.closure(named)
    packages = metadata.packages_distributions()
    for module, file in app.imports.items():
        if module in sys.stdlib_module_names or module in ("function_app", "perdure"):
            continue
        if (app.path / module).is_dir() or any(app.path.rglob(f"{module}.py")):
            continue
        distributions = {utils.canonicalize_name(name) for name in packages.get(module, ())}
        if not distributions:
            yield _warning(
                f"{file} imports {module}, which is not installed here.", "Name its package in requirements.txt."
            )
        elif not distributions & there:
            yield _error(
                f"{file} imports {module}, and requirements.txt does not bring it.",
                f"Add {' or '.join(sorted(distributions))}.",
            )


def _ignored(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    there = [name for name in NOT_PUBLISHED if (app.path / name).exists()]
    published = [name for name in there if not folder.matches(app.funcignore, name)]
    if published:
        yield _warning(
            f"{', '.join(published)} would be published with the app.",
            "Run `perdure azure init`, or add a line for each to .funcignore.",
        )


def _variables(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    for name, file in app.variables.items():
        if name not in environ:
            yield _warning(
                f'{file} reads os.environ["{name}"], which is not set here.',
                f"Set it in local.settings.json. {_ON_AZURE}",
            )
    told = [
        name
        for name, value in app.settings.items()
        if value and _SECRET_NAME.search(name) and name not in SETTINGS_OF_THE_PLATFORM
    ]
    for name in told:
        yield _warning(
            f"{name} looks like a secret; local.settings.json is not published.",
            "On Azure keep it in Key Vault and refer to it: @Microsoft.KeyVault(VaultName=...;SecretName=...).",
        )


def _code(app: folder.Folder, environ: Mapping[str, str]) -> Findings:
    for file, why in app.unparsable.items():
        yield _error(f"{file} is no valid Python: {why}", "Correct it.")
    if sys.version_info[:2] not in PYTHONS:
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        known = ", ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        yield _warning(f"This is Python {here}; the app would run on another one.", f"Try it on one of {known}.")


_CHECKS: Final[tuple[Callable[[folder.Folder, Mapping[str, str]], Findings], ...]] = (
    _code,
    _host_json,
    _task_hub,
    _local_settings,
    _storage,
    _requirements,
    _ignored,
    _variables,
)

_ON_AZURE: Final = "On Azure: az functionapp config appsettings set."


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _error(what: str, remedy: str) -> Finding:
    return Finding("error", what, remedy)


def _warning(what: str, remedy: str) -> Finding:
    return Finding("warning", what, remedy)
