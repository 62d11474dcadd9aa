"""Where the perdure that runs here came from, and what an app's ``requirements.txt`` says to get the same."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec

from perdure import _version

WHEELS: Final = "wheels"
"""The folder of an app that has the wheels published with it."""


class Origin(NamedTuple):
    """Where an installed perdure came from.

    Attributes:
        version: Its version.
        checkout: The folder of its sources that it was installed from.
        editable: Whether the code that runs is the checkout's own.
        wheel: The wheel that it was installed from, which may be gone.
        reference: The address that it was installed from, as requirements have it.
    """

    version: str
    checkout: Path | None = None
    editable: bool = False
    wheel: Path | None = None
    reference: str = ""

    @property
    def is_release(self) -> bool:
        """Whether it came from a package index."""
        return self.checkout is None and self.wheel is None and not self.reference

    @property
    def wheel_name(self) -> str:
        """The name of the wheel that it is; empty if it is got from an address."""
        if self.wheel is not None:
            return self.wheel.name
        return f"perdure-{self.version}-py3-none-any.whl" if self.checkout is not None else ""

    @property
    def requirement(self) -> str:
        """The line of ``requirements.txt`` that brings the same, with what Azure needs."""
        if self.wheel_name:
            return f"./{WHEELS}/{self.wheel_name}[azure]"
        return f"perdure[azure] @ {self.reference}" if self.reference else "perdure[azure]"

    @property
    def shown(self) -> str:
        """Where it came from, for people."""
        return str(self.checkout or self.wheel or self.reference or "a package index")

    def command(self, app: Path) -> str:
        """Give the command that puts its wheel into an app's folder; empty where none is needed."""
        target = shlex.quote(str(app / WHEELS))
        if self.checkout is not None:
            return f"python -m pip wheel --no-deps -w {target} {shlex.quote(str(self.checkout))}"
        return f"cp {shlex.quote(str(self.wheel))} {target}" if self.wheel is not None else ""


def here() -> Origin:
    """Say where the perdure that runs came from."""
    try:
        told = metadata.distribution("perdure").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return Origin(_version.__version__)
    return read(_version.__version__, told)


def read(version: str, direct_url: str | None) -> Origin:
    """Read what an installer wrote down of where a package came from; it writes nothing for one from an index.

    Source: https://packaging.python.org/specifications/direct-url/
    """
    if not direct_url:
        return Origin(version)
    told: dict[str, Any] = msgspec.json.decode(direct_url, type=dict[str, Any])
    url = str(told.get("url", ""))
    parts = urlsplit(url)
    if "vcs_info" in told:
        vcs = told["vcs_info"]
        return Origin(version, reference=f"{vcs['vcs']}+{url}@{vcs['commit_id']}")
    if parts.scheme != "file":
        return Origin(version, reference=url)
    path = Path(url2pathname(parts.path))
    if "dir_info" in told:
        return Origin(version, checkout=path, editable=bool(told["dir_info"].get("editable")))
    return Origin(version, wheel=path)
