from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import pytest

from perdure.deployment import checks, files, folder, provenance

ENVIRON = {"PATH": "/bin"}
RELEASE = provenance.Origin("0.1.0")


@pytest.fixture
def app(tmp_path: pathlib.Path) -> pathlib.Path:
    """An app with which nothing is wrong."""
    (tmp_path / "function_app.py").write_text("import json\nfrom perdure import AgentFunctionApp\n")
    list(files.write(tmp_path, "flex", "storage", None, RELEASE))
    return tmp_path


def found(app: pathlib.Path, **environ: str) -> list[checks.Finding]:
    return checks.of_folder(folder.read(app), {**ENVIRON, **environ})


def edit(path: pathlib.Path, **changed: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def settings(app: pathlib.Path, **values: str) -> None:
    path = app / "local.settings.json"
    edit(path, Values={**json.loads(path.read_text())["Values"], **values})


def test_an_app_that_azure_init_made_ready_has_no_findings(app: pathlib.Path) -> None:
    assert found(app) == []


CASES: dict[str, tuple[Any, str, str]] = {
    "no host.json": (lambda app: (app / "host.json").unlink(), "error", "no host.json"),
    "old host.json": (lambda app: edit(app / "host.json", version="1.0"), "error", "version '1.0'"),
    "no bundle": (lambda app: edit(app / "host.json", extensionBundle=None), "error", "no extension bundle"),
    "old bundle": (
        lambda app: edit(app / "host.json", extensionBundle={"id": checks.BUNDLE, "version": "[3.*, 4.0.0)"}),
        "error",
        "older Durable extension",
    ),
    "no hub": (lambda app: edit(app / "host.json", extensions={}), "warning", "names no task hub"),
    "hub unset": (lambda app: settings(app, TASKHUB_NAME=""), "error", "TASKHUB_NAME is not set"),
    "illegal hub": (lambda app: settings(app, TASKHUB_NAME="my-hub"), "error", "'my-hub' has a name"),
    "scheduler unset": (
        lambda app: edit(
            app / "host.json",
            extensions={"durableTask": {"hubName": "hub", "storageProvider": {"type": "azureManaged"}}},
        ),
        "warning",
        "DURABLE_TASK_SCHEDULER_CONNECTION_STRING is not set",
    ),
    "encrypted": (lambda app: edit(app / "local.settings.json", IsEncrypted=True), "error", "is encrypted"),
    "no local settings": (lambda app: (app / "local.settings.json").unlink(), "warning", "no local.settings.json"),
    "other worker": (lambda app: settings(app, FUNCTIONS_WORKER_RUNTIME="node"), "error", "is not python"),
    "settings in git": (lambda app: (app / ".gitignore").unlink(), "warning", "not in .gitignore"),
    "no storage": (lambda app: settings(app, AzureWebJobsStorage=""), "error", "No storage account"),
    "no requirements": (lambda app: (app / "requirements.txt").unlink(), "error", "no requirements.txt"),
    "no perdure": (lambda app: (app / "requirements.txt").write_text("msgspec\n"), "error", "does not name perdure"),
    "no extra": (lambda app: (app / "requirements.txt").write_text("perdure\n"), "error", "without its azure extra"),
    "undeclared": (lambda app: (app / "more.py").write_text("import hypothesis\n"), "error", "Add hypothesis"),
    "not installed": (
        lambda app: (app / "more.py").write_text("import no_such_thing\n"),
        "warning",
        "no_such_thing, which is not installed",
    ),
    "published": (lambda app: (app / ".funcignore").write_text("tests\n"), "warning", "local.settings.json would be"),
    "variable": (
        lambda app: (app / "more.py").write_text('import os\nx = os.environ["MODEL_NAME"]\n'),
        "warning",
        "MODEL_NAME",
    ),
    "secret": (lambda app: settings(app, OPENAI_API_KEY="sk-1"), "warning", "OPENAI_API_KEY looks like a secret"),
    "no Python": (lambda app: (app / "more.py").write_text("def\n"), "error", "more.py is no valid Python"),
}


@pytest.mark.parametrize(("break_it", "weight", "said"), CASES.values(), ids=CASES)
def test_what_would_fail_is_found_with_its_remedy(app: pathlib.Path, break_it: Any, weight: str, said: str) -> None:
    break_it(app)
    hits = [finding for finding in found(app) if said in f"{finding.what} {finding.remedy}"]
    assert [finding.weight for finding in hits] == [weight]
    assert all(finding.remedy for finding in hits)


@pytest.mark.parametrize(
    "fine",
    [
        'import os\nx = os.environ.get("MODEL_NAME")\n',
        'import os\nos.environ["MODEL_NAME"] = "x"\n',
        "from agent_framework import Agent\nimport azure.identity\nimport msgspec\nfrom . import other\n",
        "import function_app\nimport sys\n",
    ],
)
def test_what_works_is_not_complained_of(app: pathlib.Path, fine: str) -> None:
    (app / "more.py").write_text(fine)
    assert found(app) == []


def test_what_is_set_in_the_environment_is_set(app: pathlib.Path) -> None:
    settings(app, TASKHUB_NAME="")
    assert found(app, TASKHUB_NAME="hub1") == []


def test_modules_of_the_app_and_its_tests_and_environment_are_not_taken_for_packages(app: pathlib.Path) -> None:
    (app / "flows").mkdir()
    (app / "flows" / "mail.py").write_text("import helpers\n")
    (app / "helpers.py").write_text("import flows.mail\n")
    for hidden in (".venv", "tests"):
        (app / hidden).mkdir()
        (app / hidden / "it.py").write_text("import no_such_thing\n")
    assert found(app) == []


def of_perdure(app: pathlib.Path, origin: provenance.Origin, requirements: str) -> list[checks.Finding]:
    (app / "requirements.txt").write_text(requirements + "\n")
    return list(checks.of_perdure(folder.read(app), origin))


@pytest.mark.parametrize(
    ("origin", "way"),
    [
        (provenance.Origin("0.1.0", checkout=pathlib.Path("/src/perdure")), "pip wheel --no-deps -w"),
        (provenance.Origin("0.1.0", wheel=pathlib.Path("/tmp/perdure-0.1.0-py3-none-any.whl")), "cp /tmp/perdure-"),
        (provenance.Origin("0.1.0", reference="git+https://example.com/perdure@1234"), "perdure azure init"),
    ],
)
def test_a_release_is_not_asked_for_where_what_runs_here_is_none(
    app: pathlib.Path, origin: provenance.Origin, way: str
) -> None:
    (asked,) = of_perdure(app, origin, "perdure[azure]")
    assert asked.weight == "error"
    assert origin.shown in asked.what and way in asked.remedy and "perdure azure init" in asked.remedy
    assert of_perdure(app, RELEASE, "perdure[azure]") == []


def test_a_wheel_that_is_not_there_or_is_another_or_an_old_one_is_found(app: pathlib.Path) -> None:
    checkout = provenance.Origin("0.1.0", checkout=pathlib.Path("/src/perdure"), editable=True)
    line = "./wheels/perdure-0.1.0-py3-none-any.whl[azure]"
    (missing,) = of_perdure(app, checkout, line)
    assert (missing.weight, checkout.command(app) in missing.remedy) == ("error", True)

    (app / "wheels").mkdir()
    wheel = app / "wheels" / "perdure-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert of_perdure(app, checkout, line) == []
    os.utime(wheel, (1, 1))
    (old,) = of_perdure(app, checkout, line)
    assert (old.weight, checkout.command(app) in old.remedy) == ("warning", True)
    (other,) = of_perdure(app, checkout._replace(version="0.2.0"), line)
    assert other.weight == "warning" and "0.2.0" in other.what
