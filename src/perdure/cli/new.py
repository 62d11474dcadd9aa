"""``perdure new``: a folder with a small app that works."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import click

from perdure import errors

FILES = {
    "function_app.py": "function_app.py.txt",
    "host.json": "host.json",
    "local.settings.json": "local.settings.json.txt",
    "requirements.txt": "requirements.txt",
    "README.md": "README.md",
    ".gitignore": "gitignore.txt",
    ".vscode/launch.json": "launch.json",
}
"""The files of a new app, and the templates that they are made from."""


def new(folder: str) -> None:
    """Make an app in a folder that is not there yet, or is empty.

    Raises:
        UsageError: If the folder has files already, or cannot be made.
    """
    target = Path(folder).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise errors.UsageError(f"{target} is there already and is not empty.", "Name a new folder.")
    templates = importlib.resources.files("perdure.cli").joinpath("template")
    contents = {name: templates.joinpath(template).read_bytes() for name, template in FILES.items()}
    try:
        for name, content in contents.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise errors.UsageError(f"{target} cannot be written: {error.strerror}.", "Name another folder.") from error
    click.echo(f"Made {target}. Next:\n\n    cd {target}\n    perdure start\n")
    click.echo("and from another terminal:\n")
    click.echo("    curl -X POST 'http://localhost:7071/api/workflow/run' -H 'Prefer: wait=10' -d 'Ada'")
