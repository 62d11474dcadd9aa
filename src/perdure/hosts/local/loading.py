"""Loading an app: the one app in a folder's ``function_app.py``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
from azure.functions.decorators import function_app

from perdure import app as apps
from perdure import errors, tracebacks
from perdure.hosts.local.functions import sdk

FILE_NAME = "function_app.py"
MODULE_NAME = "function_app"


class AppError(errors.PerdureError):
    """The user's file raised while it was loaded; shown with the user's own frames.

    Args:
        message: What was raised, and in which file.
        frames: The user's frames of the traceback; may be empty.
    """

    def __init__(self, message: str, frames: str) -> None:
        super().__init__(message)
        self.frames = frames


def locate(place: str | Path) -> Path:
    """Give the file of an app, given the file or its folder.

    Raises:
        UsageError: If there is none.
    """
    path = Path(place).expanduser().absolute()
    if path.is_file():
        if path.suffix != ".py":
            raise errors.UsageError(f"{path} is no Python file.", f"Name a folder with a {FILE_NAME}, or a .py file.")
        return path
    if not path.exists():
        raise errors.UsageError(f"There is no {path}.", "Name an app's folder; `perdure new FOLDER` makes one.")
    file = path / FILE_NAME
    if not file.is_file():
        raise errors.UsageError(
            f"There is no {FILE_NAME} in {path}.",
            "Go to your app's folder or name it: `perdure start FOLDER`; `perdure new FOLDER` makes one.",
        )
    return file


def load(file: Path) -> apps.AgentFunctionApp:
    """Import an app's file as ``function_app``, its folder first on ``sys.path``, and give its one app.

    Raises:
        UsageError: If it has no app, several, or one that hosts nothing, or needs a package that is not installed.
        AppError: If it raised.
    """
    module = _imported(file)
    found: dict[int, tuple[str, object]] = {}
    for name, value in vars(module).items():
        if isinstance(value, function_app.FunctionRegister):
            found.setdefault(id(value), (name, value))
    if not found:
        raise errors.UsageError(
            f"{file} has no app.", "Assign one in it: app = perdure.AgentFunctionApp(workflow=...)."
        )
    if len(found) > 1:
        names = ", ".join(name for name, _ in found.values())
        raise errors.UsageError(f"{file} has several apps: {names}.", "Keep one; it can host several workflows.")
    ((name, app),) = found.values()
    if isinstance(app, df.DFApp | function_app.FunctionApp) and not isinstance(app, apps.AgentFunctionApp):
        plain: Any = app
        if sdk.has_functions(plain):
            app = apps.AgentFunctionApp(http_auth_level=plain.auth_level, app_folder=file.parent)
            sdk.adopt(plain, app)
    if not isinstance(app, apps.AgentFunctionApp):
        raise errors.UsageError(
            f"{file}: {name} is a plain {type(app).__name__}, which hosts no workflow.",
            f"Make it one that has: {name} = perdure.AgentFunctionApp(workflow=...).",
        )
    if not app.hosted_workflows and not app.hosted_agents and not sdk.has_functions(app):
        raise errors.UsageError(
            f"{file}: {name} hosts nothing.",
            "Give it agents=[...], workflow=... or workflows=[...], or functions of your own.",
        )
    return app


def _imported(file: Path) -> ModuleType:
    folder = str(file.parent)
    sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
    spec = importlib.util.spec_from_file_location(MODULE_NAME, file)
    if spec is None or spec.loader is None:
        raise errors.UsageError(f"{file} cannot be imported.", "Name a .py file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[MODULE_NAME]
        if isinstance(error, ModuleNotFoundError) and error.name and not _is_users(error.name, file.parent):
            raise _missing_package(file, error.name) from error
        if isinstance(error, ImportError) and isinstance(error.__cause__, ModuleNotFoundError):
            # The app looked for a package that is optional and says itself what to do.
            raise errors.UsageError(f"{file} does not import: {error}") from error
        if isinstance(error, errors.UsageError):
            raise
        raise AppError(f"{file} does not load: {_told(error)}", tracebacks.user_frames(error)) from error
    return module


def _is_users(name: str, folder: Path) -> bool:
    """Say whether a missing module would be the user's own: in a package of theirs that is there."""
    first = name.partition(".")[0]
    return (folder / first).is_dir() or (folder / f"{first}.py").is_file()


def _missing_package(file: Path, name: str) -> errors.UsageError:
    requirements = file.parent / "requirements.txt"
    if requirements.is_file():
        remedy = f'Install what the app needs: "{sys.executable}" -m pip install -r "{requirements}"'
    else:
        remedy = f'Install the package that has it: "{sys.executable}" -m pip install ...'
    return errors.UsageError(f"{file} does not import: there is no module named {name!r} in this Python.", remedy)


def _told(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {error}"
