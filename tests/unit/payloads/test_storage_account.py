from __future__ import annotations

import re

import pytest

from perdure import errors
from perdure.payloads.stores import blob_container, storage_account

KEY = "AccountKey=c2VjcmV0"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"": "UseDevelopmentStorage=true"}, "http://127.0.0.1:10000/devstoreaccount1"),
        (
            {"": "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://127.0.0.2"},
            "http://127.0.0.2:10000/devstoreaccount1",
        ),
        ({"": f"DefaultEndpointsProtocol=https;AccountName=mine;{KEY}"}, "https://mine.blob.core.windows.net"),
        ({"": f"AccountName=mine;{KEY};EndpointSuffix=core.example"}, "https://mine.blob.core.example"),
        ({"": f"BlobEndpoint=http://127.0.0.1:1/mine/;AccountName=mine;{KEY}"}, "http://127.0.0.1:1/mine"),
        ({"__accountName": "mine"}, "https://mine.blob.core.windows.net"),
        ({"__blobServiceUri": "https://mine.example/"}, "https://mine.example"),
        ({"": " ", "__accountName": "mine"}, "https://mine.blob.core.windows.net"),
    ],
)
def test_the_account_is_the_one_that_the_functions_host_would_use(settings: dict[str, str], url: str) -> None:
    found = storage_account.of({f"{storage_account.SETTING}{name}": value for name, value in settings.items()})
    assert found.url == url
    assert bool(found.connection) == bool(settings.get("", "").strip())


def test_a_managed_identity_is_the_one_that_is_named() -> None:
    prefix = storage_account.SETTING
    found = storage_account.of(
        {f"{prefix}__accountName": "mine", f"{prefix}__credential": "managedidentity", f"{prefix}__clientId": "me"}
    )
    assert (found.managed, found.client_id) == (True, "me")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "No storage account is configured"),
        ({"": "hello"}, "no connection string"),
        ({"": "AccountName=mine"}, "no AccountKey"),
        ({"": "AccountName=mine;AccountKey=bad"}, "not Base64"),
        ({"__accountName": "Not A Name"}, "no name of a storage account"),
        ({"__blobServiceUri": "mine"}, "no address"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_remedy(settings: dict[str, str], said: str) -> None:
    with pytest.raises(errors.UsageError, match=said) as caught:
        storage_account.of({f"{storage_account.SETTING}{name}": value for name, value in settings.items()})
    assert caught.value.remedy


@pytest.mark.parametrize("hub", ["default", "MyHub", "my_hub", "x" * 45, "ÄÖ", "a--b", "-a", "1", ""])
def test_a_task_hub_has_a_container_with_a_legal_name_of_its_own(hub: str) -> None:
    name = blob_container.name_of(hub)
    assert re.fullmatch(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name)
    assert name != blob_container.name_of(hub + "x")
    assert hub == hub.lower() or name != blob_container.name_of(hub.lower())
