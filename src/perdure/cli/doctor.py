"""``perdure doctor``: what of an app would fail on Azure, before it does."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping

import click

from perdure import errors
from perdure.deployment import checks, folder, indexing, provenance
from perdure.hosts.local import loading
from perdure.payloads.stores import storage_account

REACH_SECONDS = 5.0
_COLOURS = {"error": "red", "warning": "yellow"}


def doctor(place: str) -> int:
    """Say what is wrong with an app's folder and this environment, each with its remedy; gives the exit code.

    Raises:
        UsageError: If there is no such app, or one of its JSON files cannot be read.
    """
    file = loading.locate(place)
    app = folder.read(file.parent)
    environ = {**app.settings, **os.environ}
    found = [*checks.of_folder(app, os.environ), *checks.of_perdure(app, provenance.here())]
    os.environ.update({name: value for name, value in app.settings.items() if name not in os.environ})
    try:
        loading.load(file)
        found += _functions(file.name)
    except errors.PerdureError as error:
        found.append(checks.Finding("error", error.message, error.remedy or "Correct it; `perdure start` says more."))
    found += _tools()
    found += asyncio.run(_reach(environ))
    for finding in sorted(found, key=lambda item: item.weight):
        click.echo(f"{click.style(finding.weight, fg=_COLOURS[finding.weight])}: {finding.what}\n    {finding.remedy}")
    wrong = sum(finding.weight == "error" for finding in found)
    click.echo(f"{wrong} {'error' if wrong == 1 else 'errors'}, {len(found) - wrong} warnings in {file.parent}")
    return 1 if wrong else 0


def _functions(file: str) -> list[checks.Finding]:
    """Look at the functions that Azure would find."""
    logging.disable(logging.WARNING)
    try:
        return list(indexing.of_app(sys.modules[loading.MODULE_NAME], file))
    finally:
        logging.disable(logging.NOTSET)


def _tools() -> Iterator[checks.Finding]:
    for command, what, remedy in (
        ("func", "Core Tools run the app as Azure does, and publish it", "npm install -g azure-functions-core-tools@4"),
        ("az", "the Azure CLI makes its resources, and signs you in", "see https://aka.ms/azure-cli"),
    ):
        if shutil.which(command) is None:
            yield checks.Finding("warning", f"There is no `{command}` on the path: {what}.", remedy)


async def _reach(environ: Mapping[str, str]) -> list[checks.Finding]:
    """Try the port of the storage account; only a connection, nothing is asked of it."""
    try:
        account = storage_account.of(environ)
    except errors.UsageError:
        return []  # The folder's checks have said so.
    host, port = storage_account.address(account)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), REACH_SECONDS)
    except (OSError, TimeoutError) as error:
        local = host in ("127.0.0.1", "localhost", "::1")
        remedy = "Start Azurite: npx azurite" if local else "Look at the name of the account and at the network."
        why = str(error) or type(error).__name__
        return [checks.Finding("warning", f"The storage account at {account.url} cannot be reached: {why}.", remedy)]
    writer.close()
    return []
