"""Which storage account an app has: the setting ``AzureWebJobsStorage``, as the Functions host reads it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from perdure import errors

SETTING: Final = "AzureWebJobsStorage"

DEVELOPMENT_ACCOUNT: Final = "devstoreaccount1"
DEVELOPMENT_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account of the storage emulator; published, the same on every machine.

Source: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
"""

_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_REMEDY: Final = (
    f"Set {SETTING} to a connection string (UseDevelopmentStorage=true for Azurite on this machine), "
    f"or {SETTING}__accountName to sign in by identity."
)


class Account(NamedTuple):
    """A storage account, and how to sign in to it.

    Attributes:
        url: Where its blobs are, such as ``https://name.blob.core.windows.net``.
        connection: Its connection string; empty to sign in by identity.
        managed: Whether to sign in as the managed identity, and as no other.
        client_id: The client id of a user-assigned managed identity; empty for the system's.
    """

    url: str
    connection: str = ""
    managed: bool = False
    client_id: str = ""


def of(environ: Mapping[str, str], setting: str = SETTING) -> Account:
    """Read which account is meant.

    Args:
        environ: The settings.
        setting: The name of the setting; with ``__accountName``, ``__blobServiceUri``, ``__credential`` and
            ``__clientId`` after it where there is no connection string, as the Functions host has them.

    Raises:
        UsageError: If none is, or what is said of it is not understood.
    """
    connection = environ.get(setting, "").strip()
    if connection:
        return _of_connection(connection, setting)
    uri = environ.get(f"{setting}__blobServiceUri", "").strip().rstrip("/")
    name = environ.get(f"{setting}__accountName", "").strip()
    if not uri:
        if not name:
            raise errors.UsageError("No storage account is configured.", _REMEDY)
        if not _ACCOUNT.fullmatch(name):
            raise errors.UsageError(
                f"{setting}__accountName is {name!r}, which is no name of a storage account.",
                "It has 3 to 24 lower-case letters and digits.",
            )
        uri = f"https://{name}.blob.core.windows.net"
    elif not uri.startswith(("https://", "http://")):
        raise errors.UsageError(
            f"{setting}__blobServiceUri is {uri!r}, which is no address.", "It starts with https://."
        )
    managed = environ.get(f"{setting}__credential", "").strip().lower() == "managedidentity"
    return Account(uri, managed=managed, client_id=environ.get(f"{setting}__clientId", "").strip())


def address(account: Account) -> tuple[str, int]:
    """Give the host and port that an account's blobs are at."""
    parts = urlsplit(account.url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _of_connection(connection: str, setting: str) -> Account:
    parts = dict(
        (name.strip().lower(), value.strip())
        for name, found, value in (part.partition("=") for part in connection.split(";"))
        if found
    )
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        host = parts.get("developmentstorageproxyuri", "http://127.0.0.1").rstrip("/")
        url = f"{host}:10000/{DEVELOPMENT_ACCOUNT}"
        return Account(
            url,
            f"DefaultEndpointsProtocol=http;AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};"
            f"BlobEndpoint={url};",
        )
    endpoint = parts.get("blobendpoint", "").rstrip("/")
    name = parts.get("accountname", "")
    if not endpoint and name:
        scheme = parts.get("defaultendpointsprotocol", "https")
        endpoint = f"{scheme}://{name}.blob.{parts.get('endpointsuffix', 'core.windows.net')}"
    if not endpoint:
        raise errors.UsageError(
            f"{setting} is no connection string of a storage account: it names neither an account nor a BlobEndpoint.",
            _REMEDY,
        )
    if not ("accountkey" in parts or "sharedaccesssignature" in parts):
        raise errors.UsageError(
            f"{setting} has no AccountKey and no SharedAccessSignature.",
            f"Copy the whole connection string, or leave it out and set {setting}__accountName to sign in by identity.",
        )
    try:
        base64.b64decode(parts.get("accountkey", ""), validate=True)
    except ValueError:
        raise errors.UsageError(
            f"The AccountKey in {setting} is no key: it is not Base64.", "Copy the whole connection string."
        ) from None
    return Account(endpoint, connection)
