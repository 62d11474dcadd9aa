"""What holds of every sample's folder."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from tests.samples import requests, tried

FOLDERS = sorted(path.parent for path in tried.SAMPLES.glob("*/function_app.py"))
TEMPLATE = pathlib.Path(__file__).parents[2] / "src" / "perdure" / "cli" / "template"

each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def _ready(request: requests.Request) -> tuple[str, str, str]:
    """What a command and a request of demo.http have in common: variables are capitals in the one."""
    filled = request.filled(lambda name: "localhost:7071" if name == "host" else name.upper())
    return filled.method, filled.url.removeprefix("http://"), filled.body


@each
def test_each_command_of_its_readme_is_a_request_of_its_demo(folder: pathlib.Path) -> None:
    demo = [_ready(request) for request in requests.demo(folder / "demo.http").requests]
    commands = [_ready(request) for request in requests.curls(folder / "README.md")]
    assert commands
    assert [command for command in commands if command not in demo] == []


@each
def test_it_has_what_a_new_app_has(folder: pathlib.Path) -> None:
    assert json.loads((folder / "host.json").read_text()) == json.loads((TEMPLATE / "host.json").read_text())
    (needed,) = (TEMPLATE / "requirements.txt").read_text().splitlines()
    first = (folder / "requirements.txt").read_text().splitlines()[0]
    assert re.fullmatch(rf"{needed}(\[\w+\])?", first)
    values = json.loads((folder / "local.settings.json.template").read_text())["Values"]
    new = json.loads((TEMPLATE / "local.settings.json.txt").read_text())["Values"]
    assert new.items() <= values.items()


@each
def test_its_settings_template_names_the_variables_it_reads(folder: pathlib.Path) -> None:
    read = set()
    for module in folder.glob("*.py"):
        read |= set(
            re.findall(r"\b(?:FOUNDRY|OPENAI)_(?:PROJECT_ENDPOINT|MODEL|API_KEY|BASE_URL)\b", module.read_text())
        )
    values = json.loads((folder / "local.settings.json.template").read_text())["Values"]
    assert read <= set(values)


def test_all_choose_their_model_in_the_same_words() -> None:
    copies = {path.read_text() for path in tried.SAMPLES.glob("*/models.py")}
    assert len(copies) == 1


def test_the_index_has_every_sample_and_its_links_lead_somewhere() -> None:
    index = (tried.SAMPLES / "README.md").read_text()
    linked = re.findall(r"\]\(([^)#]+)\)", index)
    assert [folder.name for folder in FOLDERS if folder.name not in linked] == []
    assert [link for link in linked if not (tried.SAMPLES / link).exists()] == []


@each
def test_the_links_of_its_readme_lead_somewhere(folder: pathlib.Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (folder / "README.md").read_text())
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []
