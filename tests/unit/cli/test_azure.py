"""``perdure azure init`` and ``perdure doctor``, as they are typed."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
from tests.azurite import emulator

from perdure.deployment import provenance


def perdure(*args: object, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AzureWeb", "TASKHUB"))}
    command = [sys.executable, "-m", "perdure.cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env={**kept, **environ}, check=False, timeout=120)


@pytest.fixture
def app(tmp_path: pathlib.Path) -> pathlib.Path:
    target = tmp_path / "app"
    assert perdure("new", target).returncode == 0
    return target


def test_a_new_app_is_made_ready_for_azure_and_found_so(app: pathlib.Path, azurite: emulator.Azurite) -> None:
    made = perdure("azure", "init", app)
    origin = provenance.here()
    if origin.wheel_name:
        # Here perdure is the checkout: what the command that is shown would make.
        assert origin.command(app) in made.stdout
        (app / "wheels").mkdir()
        (app / "wheels" / origin.wheel_name).touch()
    looked = perdure("doctor", app, AzureWebJobsStorage=azurite.connection())

    assert made.returncode == 0, made.stderr
    assert "infra/main.json" in made.stdout and "func azure functionapp publish" in made.stdout
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "cannot be reached" not in looked.stdout
    assert looked.stdout.splitlines()[-1].startswith("0 errors, ")


def test_doctor_says_what_is_wrong_and_what_to_do_and_ends_with_1(app: pathlib.Path) -> None:
    (app / "host.json").unlink()
    (app / "function_app.py").write_text("from perdure import AgentFunctionApp\napp = AgentFunctionApp()\n")
    looked = perdure("doctor", app, AzureWebJobsStorage="UseDevelopmentStorage=false")

    assert looked.returncode == 1
    assert "error: There is no host.json" in looked.stdout
    assert "error: AzureWebJobsStorage is no connection string" in looked.stdout
    assert re.search(r"error: .*app hosts nothing", looked.stdout)
    assert looked.stdout.index("error:") < looked.stdout.index("warning:")
    assert "Traceback" not in looked.stdout + looked.stderr


def test_doctor_sees_the_functions_that_azure_would_see(app: pathlib.Path) -> None:
    code = """

@app.activity_trigger(input_name="given")
def greet(given: dict[str, str]) -> str:
    return "Hello"


@app.route("health", methods=["GET"])
def mine(req):
    return "fine"
"""
    with (app / "function_app.py").open("a") as file:
        file.write(code)
    looked = perdure("doctor", app, AzureWebJobsStorage="UseDevelopmentStorage=true")
    assert looked.returncode == 1
    assert "'given' of the function 'greet' is annotated dict[str, str]" in looked.stdout
    assert re.search(r"error: The functions .*health_check.* have one route, 'health'", looked.stdout)
    assert "not known" not in looked.stdout + looked.stderr, "nobody asks the store here"


def test_doctor_says_when_the_storage_account_cannot_be_reached(app: pathlib.Path) -> None:
    nobody = "AccountName=a;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:9/a"
    looked = perdure("doctor", app, AzureWebJobsStorage=nobody)
    assert "warning: The storage account at http://127.0.0.1:9/a cannot be reached" in looked.stdout
    assert "npx azurite" in looked.stdout


@pytest.mark.parametrize("args", [("azure", "init", "nowhere"), ("doctor", "nowhere")])
def test_a_folder_that_is_not_there_is_a_mistake_in_usage(tmp_path: pathlib.Path, args: tuple[str, ...]) -> None:
    done = perdure(*args[:-1], tmp_path / args[-1])
    assert done.returncode == 2
    assert "Error: There is no" in done.stderr
