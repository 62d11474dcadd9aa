from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure import AgentFunctionApp, errors
from perdure.hosts.local import loading

APP = """
from agent_framework import WorkflowBuilder, WorkflowContext, executor
from perdure import AgentFunctionApp

@executor(id="only")
async def only(text: str, ctx: WorkflowContext[None, str]) -> None:
    await ctx.yield_output(text)

{name} = AgentFunctionApp(workflow=WorkflowBuilder(name="w", start_executor=only).build())
"""


@pytest.fixture(autouse=True)
def _own_modules() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("function_app", "beside"):
            del sys.modules[name]


def write(folder: Path, text: str) -> Path:
    file = folder / "function_app.py"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["app", "anything"])
def test_the_app_is_found_under_any_name(tmp_path: Path, name: str) -> None:
    app = loading.load(write(tmp_path, APP.format(name=name)))

    assert isinstance(app, AgentFunctionApp)
    assert list(app.workflows) == ["w"]


def test_two_names_of_one_app_are_one_app(tmp_path: Path) -> None:
    assert loading.load(write(tmp_path, APP.format(name="app") + "\nsame = app\n"))


def test_the_folder_comes_first_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'app'\n", encoding="utf-8")
    loading.load(write(tmp_path, "import beside\n" + APP.format(name="app")))

    assert sys.path[0] == str(tmp_path)
    assert sys.modules["function_app"].__file__ == str(tmp_path / "function_app.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "has no app"),
        (
            APP.format(name="one") + "two = AgentFunctionApp(workflow=one.workflows['w'])\n",
            "several apps: one, two",
        ),
        ("import azure.functions\napp = azure.functions.FunctionApp()\n", "plain FunctionApp"),
        ("import no_such_package_anywhere\n", "no module named 'no_such_package_anywhere'.*pip install"),
    ],
)
def test_a_mistake_in_usage_is_a_usage_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(errors.UsageError, match=said):
        loading.load(write(tmp_path, text))


def test_a_missing_package_points_to_the_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("x\n", encoding="ascii")

    with pytest.raises(errors.UsageError, match=r"pip install -r .*requirements\.txt"):
        loading.load(write(tmp_path, "import no_such_package_anywhere\n"))


def test_an_error_in_the_users_file_shows_the_users_frames_only(tmp_path: Path) -> None:
    with pytest.raises(loading.AppError, match="ZeroDivisionError") as told:
        loading.load(write(tmp_path, "def build():\n    return 1 / 0\n\nbuild()\n"))

    assert "function_app.py" in told.value.frames
    assert "return 1 / 0" in told.value.frames
    assert "importlib" not in told.value.frames
    assert "loading.py" not in told.value.frames
    assert "function_app" not in sys.modules


@pytest.mark.parametrize(
    ("text", "said"), [("def (:\n", r"SyntaxError.*line 1"), ("import sys\nsys.exit(3)\n", r"sys\.exit\(3\)")]
)
def test_a_file_that_does_not_load_says_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(loading.AppError, match=said):
        loading.load(write(tmp_path, text))


def test_a_place_without_an_app_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("", encoding="ascii")

    for place, said in (
        (tmp_path, "no function_app.py"),
        (tmp_path / "x", "There is no"),
        (tmp_path / "notes.txt", "no Python"),
    ):
        with pytest.raises(errors.UsageError, match=said):
            loading.locate(place)


def test_a_file_of_any_name_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "other.py"
    file.write_text(APP.format(name="app"), encoding="utf-8")

    assert loading.load(loading.locate(file))
