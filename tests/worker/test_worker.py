"""Microsoft's own worker finds the functions of an app and runs them; this test is its Functions host."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.azurite import emulator
from tests.worker import library

from perdure.hosts.local import host

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"
NAMES = sorted(path.parent.name for path in SAMPLES.glob("*/function_app.py"))
NO_MODEL = dict.fromkeys(("FOUNDRY_PROJECT_ENDPOINT", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_BASE_URL"), "")


@pytest.fixture(scope="session")
def worker_python() -> None:
    """A Python with the worker's library; without one this module is not collected: see ``conftest.py``."""
    assert library.PYTHON.exists()


@contextlib.asynccontextmanager
async def hosted(name: str, folder: pathlib.Path, azurite: emulator.Azurite) -> AsyncIterator[httpx.AsyncClient]:
    """A sample on the worker, over real Blob Storage's emulator."""
    copy = folder / name
    shutil.copytree(SAMPLES / name, copy, ignore=shutil.ignore_patterns(".perdure", "__pycache__"))
    environment = {**NO_MODEL, "AzureWebJobsStorage": azurite.connection(), "TASKHUB_NAME": f"t{folder.name[-20:]}"}
    with library.started(copy, environment) as worker:
        library.check(worker.functions)
        playing = host.LocalHost(library.app_of(worker), hub=folder / "hub", port=0)
        async with playing as hosting, httpx.AsyncClient(base_url=f"{hosting.url}/api", timeout=60) as client:
            yield client


@pytest.mark.parametrize("name", NAMES)
def test_each_samples_functions_are_found_and_acceptable(name: str, worker_python: None) -> None:
    model = {"OPENAI_API_KEY": "none", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://127.0.0.1:1"}
    environment = {**NO_MODEL, **model, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    with library.started(SAMPLES / name, environment) as worker:
        library.check(worker.functions)
        assert worker.functions


async def test_a_workflow_runs_on_the_worker(
    tmp_path: pathlib.Path, azurite: emulator.Azurite, worker_python: None
) -> None:
    async with hosted("email_triage", tmp_path, azurite) as client:
        started = await client.post(
            "/workflow/email_triage/run?waitForResponse=true&timeoutSeconds=60", content="Can we meet on Monday?"
        )
        assert started.status_code == 200, started.text
        answer = started.json()
        assert answer["runtimeStatus"] == "Completed"
        assert answer["output"]
        run = answer["instanceId"]
        status = (await client.get(f"/workflow/email_triage/status/{run}")).json()
        assert (status["runtimeStatus"], status["output"]) == ("Completed", answer["output"])
        page = await client.get(f"/workflow/email_triage/events/{run}", headers={"accept": "application/json"})
        events = page.json()["events"]
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["type"] == "completed"
        stream = (await client.get(f"/workflow/email_triage/events/{run}?after=3")).text
        data = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
        assert data == events[3:]
        again = await client.post(f"/workflow/email_triage/run?runId={run}", content="Another mail")
        assert again.status_code == 409
