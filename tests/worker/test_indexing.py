"""What Microsoft's own worker refuses is found by ``perdure doctor``, and what it takes is not complained of."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest
from tests.worker import library

from perdure.deployment import indexing

HEADER = """
import enum
import typing
from typing import *
import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()
T = TypeVar("T")
Name = NewType("Name", str)
class Own: ...
class Box(Generic[T]): ...
class Typed(TypedDict):
    name: str
class Colour(enum.Enum):
    RED = 1
"""

ANNOTATIONS = (
    "str", "bytes", "int", "dict", "list", "tuple", "object", "type", "None", "Any", "Own", "Typed", "Colour",
    "dict[str, str]", "list[int]", "tuple[int, str]", "type[int]", "Dict[str, str]", "List[int]", "Dict", "List",
    "Tuple", "Tuple[int, str]", "Type[int]", "Sequence[str]", "Mapping[str, int]", "Iterable", "Callable",
    "Callable[[], int]", "str | None", "Optional[str]", "Union[int, str]", "Union[str]", "Literal['a']", "T", "Name",
    "Box", "Box[int]", "Annotated[str, 1]", "Annotated[dict[str, str], 1]", "'Own'", "'Nowhere'", "LiteralString",
    "func.Out[str]", "func.Out", "func.HttpRequest", "func.TimerRequest", "func.QueueMessage", "func.InputStream",
    "func.HttpResponse", "func.Context", "df.DurableOrchestrationContext", "df.DurableOrchestrationClient",
)  # fmt: skip

PARAMETERS = {
    "activity": "@app.activity_trigger(input_name='given')\ndef one(given: {0}) -> str: ...",
    "route": "@app.route('one', trigger_arg_name='given')\ndef one(given: {0}) -> str: ...",
    "timer": "@app.timer_trigger('given', '0 * * * * *')\ndef one(given: {0}) -> None: ...",
    "queue": "@app.queue_trigger('given', 'q', 'C')\ndef one(given: {0}) -> None: ...",
    "blob": "@app.blob_trigger('given', 'p', 'C')\ndef one(given: {0}) -> None: ...",
    "hub": "@app.event_hub_message_trigger('given', 'C', 'e')\ndef one(given: {0}) -> None: ...",
    "out": "@app.timer_trigger('timer', '0 * * * * *')\n@app.queue_output('given', 'q', 'C')\n"
    "def one(timer, given: {0}) -> None: ...",
    "client": "@app.route('one')\n@app.durable_client_input('given')\nasync def one(req, given: {0}) -> str: ...",
    "context": "@app.route('one')\ndef one(req, context: {0}) -> str: ...",
    "returned": "@app.route('one')\ndef one(req) -> {0}: ...",
    "activity returns": "@app.activity_trigger(input_name='given')\ndef one(given) -> {0}: ...",
    "tool": "@app.generic_trigger('given', 'mcpToolTrigger', toolName='t', description='d')\ndef one(given: {0}): ...",
}

REFUSED = {
    "no such parameter": "@app.activity_trigger(input_name='given')\ndef one(other): ...",
    "one too many": "@app.activity_trigger(input_name='given')\ndef one(given, other): ...",
    "starred": "@app.activity_trigger(input_name='given')\ndef one(given, *others): ...",
    "another context": "@app.orchestration_trigger(context_name='ctx')\ndef one(ctx): yield",
    "an entity's other context": "@app.entity_trigger(context_name='ctx')\ndef one(ctx): ...",
    "one name twice": "@app.function_name('one')\n@app.activity_trigger(input_name='given')\ndef one(given): ...\n\n"
    "@app.function_name('one')\n@app.activity_trigger(input_name='given')\ndef two(given): ...",
    "two names of the app": "same = app\n@app.activity_trigger(input_name='given')\ndef one(given): ...",
    "no trigger": "@app.queue_output('given', 'q', 'C')\ndef one(given): ...",
    "for type checkers": "if TYPE_CHECKING:\n    from decimal import Decimal\n"
    "@app.activity_trigger(input_name='given')\ndef one(given: 'Decimal'): ...",
    "a wrong interval": "@app.retry(strategy='fixed_delay', max_retry_count='3', delay_interval='10s')\n"
    "@app.queue_trigger('given', 'q', 'C')\ndef one(given): ...",
}

TAKEN = {
    "plain": "@app.activity_trigger(input_name='given')\ndef one(given): ...",
    "orchestrator": "@app.orchestration_trigger(context_name='context')\n"
    "def one(context: df.DurableOrchestrationContext) -> 'Nowhere': yield",
    "orchestrator of another parameter": "@app.orchestration_trigger(context_name='context')\ndef one(ctx): yield",
    "entity": "@app.entity_trigger(context_name='context')\ndef one(context: df.DurableEntityContext): ...",
    "keyword only": "@app.activity_trigger(input_name='given')\ndef one(*, given: dict = None): ...",
    "context": "@app.activity_trigger(input_name='given')\ndef one(given, context: func.Context): ...",
    "blueprint": "more = df.Blueprint()\n@more.activity_trigger(input_name='given')\ndef one(given): ...\n\n"
    "app.register_functions(more)",
    "an interval": "@app.retry(strategy='fixed_delay', max_retry_count='3', delay_interval='00:00:10')\n"
    "@app.queue_trigger('given', 'q', 'C')\ndef one(given): ...",
}

APPS = {
    **{f"{kind} {given}": text.format(given) for kind, text in PARAMETERS.items() for given in ANNOTATIONS},
    **{f"refused {name}": text for name, text in REFUSED.items()},
    **{f"taken {name}": text for name, text in TAKEN.items()},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The apps, a module each."""
    made = tmp_path_factory.mktemp("apps")
    for number, text in enumerate(APPS.values()):
        (made / f"app_{number:04}.py").write_text(f"{HEADER}\n{text}\n")
    return made


@pytest.fixture(scope="module")
def refused(folder: pathlib.Path) -> dict[str, str]:
    """What the worker said of each app; nothing of those that it took."""
    script = pathlib.Path(__file__).with_name("indexing.py")
    command = [str(library.PYTHON), str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return dict(zip(APPS, (said[module] for module in sorted(said)), strict=True))


def found(file: pathlib.Path) -> list[str]:
    """What doctor finds in an app."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
        return [finding.what for finding in indexing.of_app(module, "function_app.py")]
    finally:
        del sys.modules[file.stem]


def test_doctor_complains_of_what_the_worker_refuses_and_of_nothing_else(
    folder: pathlib.Path, refused: dict[str, str]
) -> None:
    told = {name: found(file) for name, file in zip(APPS, sorted(folder.glob("*.py")), strict=True)}
    missed = {name: said for name, said in refused.items() if said and not told[name]}
    invented = {name: told[name] for name, said in refused.items() if told[name] and not said}
    assert (missed, invented) == ({}, {})
    assert sum(map(bool, refused.values())) > 100
    assert all(refused[f"refused {name}"] for name in REFUSED)
    assert not any(refused[f"taken {name}"] for name in TAKEN)
