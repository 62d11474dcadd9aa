"""What a local host is told, by flags, the environment, ``local.settings.json`` and ``host.json``, in this order."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from perdure import errors
from perdure.hosts.local import cors, jsonc
from perdure.routes import site

DEFAULT_PORT = 7071
DEFAULT_HOST = "127.0.0.1"
DEFAULT_HUB = "default"
MAX_PORT = 65535

_OVERRIDE = "azurefunctionsjobhost__"
_PLACEHOLDER = re.compile(r"%([^%\s]+)%")
_LEGAL_HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LEGAL_NAME = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_LEGAL_PREFIX = re.compile(r"[A-Za-z0-9._~/-]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How a local host is set up.

    Attributes:
        folder: The app's folder.
        hub: The folder of the task hub.
        task_hub: The hub's name.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        cors: Which browser origins may call from other sites.
        route_prefix: What the routes stand under, without slashes.
        base_url: What links start with instead of the request's own origin; empty for that.
        trusted_proxies: Peers whose ``X-Forwarded-*`` headers are believed.
        allowed_hosts: Names that it goes by beside its own, ``.example.com`` for all below it; ``*`` for any.
        body_limit: The largest request body, bytes.
        values: ``Values`` of ``local.settings.json`` that the environment does not have.
    """

    folder: Path
    hub: Path
    task_hub: str = DEFAULT_HUB
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    cors: cors.Cors = dataclasses.field(default_factory=cors.Cors)
    route_prefix: str = site.DEFAULT_PREFIX
    base_url: str = ""
    trusted_proxies: tuple[site.Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    body_limit: int = site.DEFAULT_BODY_LIMIT_BYTES
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def apply(self, environ: MutableMapping[str, str]) -> None:
        """Put ``Values`` into an environment that does not have them, as user code expects."""
        for name, value in self.values.items():
            environ.setdefault(name, value)


def load(
    folder: Path,
    environ: Mapping[str, str],
    *,
    hub: Path | None = None,
    host: str | None = None,
    port: int | None = None,
) -> Settings:
    """Read the settings of an app folder; what is given here wins over everything read.

    Raises:
        UsageError: If a file or a value is not acceptable: says which, where, and what would be.
    """
    local = jsonc.read(folder / "local.settings.json")
    if local.get("IsEncrypted") is True:
        raise errors.UsageError(
            f"{folder / 'local.settings.json'} is encrypted (IsEncrypted is true) and cannot be read here.",
            "Run `func settings decrypt` in the folder, or set IsEncrypted to false and enter the values.",
        )
    values = _values(folder, local)
    env = {**values, **environ}
    spec = _Spec(folder, jsonc.read(folder / "host.json"), env)
    task_hub = _task_hub(spec, env)
    own = _object(local, "Host", folder / "local.settings.json")
    return Settings(
        folder=folder,
        hub=hub if hub is not None else folder / ".perdure" / task_hub,
        task_hub=task_hub,
        host=host or DEFAULT_HOST,
        port=port if port is not None else _port(own.get("LocalHttpPort"), folder),
        cors=_cors(own),
        route_prefix=_prefix(spec),
        base_url=_base_url(env.get("PERDURE_BASE_URL", "")),
        trusted_proxies=site.parse_proxies(env.get("PERDURE_TRUSTED_PROXIES", "")),
        allowed_hosts=_allowed_hosts(env.get("PERDURE_ALLOWED_HOSTS", "")),
        body_limit=_body_limit(env.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "")),
        values={name: value for name, value in values.items() if name not in environ},
    )


class _Spec:
    """``host.json`` with the environment's ``AzureFunctionsJobHost__*`` over it."""

    def __init__(self, folder: Path, spec: dict[str, Any], env: Mapping[str, str]) -> None:
        self.path = folder / "host.json"
        self._spec = spec
        self._env = env
        self._overrides = {
            name[len(_OVERRIDE) :].lower(): value for name, value in env.items() if name.lower().startswith(_OVERRIDE)
        }

    def text(self, *keys: str) -> str | None:
        """Give a text, its ``%NAME%`` resolved; None if it is not there."""
        value: Any = self._overrides.get("__".join(keys).lower())
        if value is None:
            value = self._spec
            for key in keys:
                value = _get(value, key) if isinstance(value, dict) else None
        if value is None:
            return None
        where = ".".join(keys)
        if not isinstance(value, str):
            raise errors.UsageError(f"{self.path}: {where} must be a text, not {value!r}.", "Put it in quotes.")
        return _PLACEHOLDER.sub(lambda found: self._resolve(found.group(1), where), value)

    def _resolve(self, name: str, where: str) -> str:
        if name in self._env:
            return self._env[name]
        if name == "TASKHUB_NAME":
            return DEFAULT_HUB
        raise errors.UsageError(
            f"{self.path}: {where} refers to %{name}%, which is not set.",
            f"Set {name} in the environment or in Values of local.settings.json.",
        )


def _get(mapping: Mapping[str, Any], key: str) -> Any:
    # The Functions host reads these files without regard to case.
    return next((value for name, value in mapping.items() if name.lower() == key.lower()), None)


def _object(mapping: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = mapping.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise errors.UsageError(f"{path}: {key} must be an object.", f'Write "{key}": {{...}}.')
    return value


def _values(folder: Path, local: Mapping[str, Any]) -> dict[str, str]:
    path = folder / "local.settings.json"
    found: dict[str, str] = {}
    for name, value in _object(local, "Values", path).items():
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, bool):
            found[name] = str(value).lower()
        elif isinstance(value, int | float):
            found[name] = str(value)
        elif value is not None:
            raise errors.UsageError(
                f"{path}: Values.{name} must be a text, not {type(value).__name__}.", "Put it in quotes, as text."
            )
    return found


def _task_hub(spec: _Spec, env: Mapping[str, str]) -> str:
    name = env.get("TASKHUB_NAME") or spec.text("extensions", "durableTask", "hubName") or DEFAULT_HUB
    if not _LEGAL_HUB.fullmatch(name):
        raise errors.UsageError(
            f"The task hub's name {name!r} is not acceptable.",
            "Set TASKHUB_NAME to at most 63 letters, digits, '-', '_' and '.', the first a letter or digit.",
        )
    return name


def _port(value: Any, folder: Path) -> int:
    if value is None:
        return DEFAULT_PORT
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PORT:
        raise errors.UsageError(
            f"{folder / 'local.settings.json'}: Host.LocalHttpPort is {value!r}.", f"Give a port from 0 to {MAX_PORT}."
        )
    return value


def _cors(own: Mapping[str, Any]) -> cors.Cors:
    text = own.get("CORS")
    origins = tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else ()
    return cors.Cors(origins, own.get("CORSCredentials") is True)


def _prefix(spec: _Spec) -> str:
    found = spec.text("extensions", "http", "routePrefix")
    if found is None:
        return site.DEFAULT_PREFIX
    if not _LEGAL_PREFIX.fullmatch(found):
        raise errors.UsageError(
            f"{spec.path}: extensions.http.routePrefix is {found!r}.", "Give a path of letters, digits and '-._~/'."
        )
    return found.strip("/")


def _base_url(value: str) -> str:
    text = value.strip().rstrip("/")
    if text and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise errors.UsageError(f"PERDURE_BASE_URL is {value!r}.", "Give an address such as https://flows.example.com.")
    return text


def _allowed_hosts(value: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    for name in names:
        if name != "*" and not _LEGAL_NAME.fullmatch(name):
            raise errors.UsageError(
                f"PERDURE_ALLOWED_HOSTS has {name!r}, which is no name of a host.",
                "Give names such as flows.example.com, or .example.com for all below it, separated by commas.",
            )
    return names


def _body_limit(value: str) -> int:
    if not value:
        return site.DEFAULT_BODY_LIMIT_BYTES
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise errors.UsageError(
            f"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT is {value!r}.", "Give a number of bytes, such as 104857600."
        )
    return int(value)
