"""Workers that share a storage account, each a process of its own, over the storage emulator; and what befalls it."""

from __future__ import annotations

import json
import pathlib

import pytest
from azure.storage.blob import ContainerClient
from tests import polling
from tests.azurite import emulator
from tests.durabletask import fleet
from tests.durabletask.scheduler import Scheduler
from tests.host import served

from perdure.payloads.stores import blob_container, storage_account

STEPS = 6
RUNS = 6

APP = fleet.loop(STEPS)


def container(hub: fleet.Fleet) -> ContainerClient:
    return ContainerClient.from_connection_string(
        hub.account, blob_container.name_of(hub.taskhub), api_version=blob_container.API_VERSION
    )


def test_workers_over_a_storage_account_share_the_work_and_one_may_be_killed(
    tmp_path: pathlib.Path, scheduler: Scheduler, azurite: emulator.Azurite
) -> None:
    """Everything finishes, and no step that was recorded is run again; what they keep is in the account."""
    with fleet.of(tmp_path / "app", scheduler, APP, account=azurite.connection()) as hub:
        for _ in range(2):
            hub.worker()
        url = hub.serve()
        fleet.finish_over_a_kill(hub, url, RUNS, STEPS)
        with container(hub) as kept:
            owners = {name.partition("/")[0] for name in kept.list_blob_names()}
    assert {f"r{run}" for run in range(RUNS)} <= owners
    assert not (hub.folder / "shared").exists()


def test_a_container_that_is_deleted_under_a_run_holds_it_up_and_loses_nothing_once_restored(
    tmp_path: pathlib.Path, scheduler: Scheduler, azurite: emulator.Azurite
) -> None:
    """The run's status, the worker's log and whoever starts another run are told what is gone."""
    with fleet.of(tmp_path / "app", scheduler, APP, account=azurite.connection()) as hub:
        worker = hub.worker()
        url = hub.serve()
        assert served.post(url, "0 1", run_id="r0").status_code == 202
        hub.holder("middle")
        with container(hub) as kept:
            saved = contents(kept)
            kept.delete_container()
            hub.go()
            refused = served.post(url, "1 1", run_id="r1")
            worker.expect(f"The container '{kept.container_name}'.* is not there")
            polling.blocking_until(lambda: waits_for(url, "r0"), lambda reason: "is not there" in reason)
            kept.create_container()
            for name, body, metadata in saved:
                kept.upload_blob(name, body, metadata=metadata)
        finished = served.finished(url, "r0")
    assert refused.status_code == 503
    assert "is not there" in refused.json()["error"]
    assert finished["output"] == [f"0 {STEPS * 2_000}"]


def test_a_payload_that_is_deleted_under_a_run_fails_it_with_its_name(
    tmp_path: pathlib.Path, scheduler: Scheduler, azurite: emulator.Azurite
) -> None:
    with fleet.of(tmp_path / "app", scheduler, APP, account=azurite.connection()) as hub:
        worker = hub.worker()
        url = hub.serve()
        assert served.post(url, "0 1", run_id="r0").status_code == 202
        hub.holder("middle")
        with container(hub) as kept:
            gone = [name for name in kept.list_blob_names() if name.startswith("r0%2F") and "/p/" in name]
            for name in gone:
                kept.delete_blob(name)
        # What it has seen a worker keeps at hand; another one has seen nothing.
        worker.kill()
        hub.worker()
        hub.go()
        run = served.finished(url, "r0")
    assert run["runtimeStatus"] == "Failed"
    assert "is not in the store" in json.dumps(run["error"])
    assert any(name.rpartition("/")[2] in json.dumps(run["error"]) for name in gone)


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_an_account_that_refuses_ends_the_command_with_the_reason(
    tmp_path: pathlib.Path, scheduler: Scheduler, azurite: emulator.Azurite, command: str
) -> None:
    wrong = azurite.connection().replace(storage_account.DEVELOPMENT_KEY, "d3Jvbmc=")
    with fleet.of(tmp_path / "app", scheduler, APP, account=wrong) as hub:
        refused = hub.start(command)
        assert refused.ended() == 1
    assert "does not accept the credentials" in refused.output and "Check AzureWebJobsStorage" in refused.output
    assert "Traceback" not in refused.output


def contents(kept: ContainerClient) -> list[tuple[str, bytes, dict[str, str]]]:
    """All blobs of a container: name, body and metadata."""
    found = []
    for item in kept.list_blobs(include=["metadata"]):
        found.append((item.name, kept.download_blob(item.name).readall(), item.metadata or {}))
    return found


def waits_for(url: str, run_id: str) -> str:
    custom = served.status(url, run_id)["customStatus"] or {}
    return str(custom.get("waitingFor", ""))
