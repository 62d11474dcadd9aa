"""AgentFunctionApp: what a user constructs in ``function_app.py``."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import azure.durable_functions as df  # type: ignore[import-untyped]  # it ships no types
import azure.functions as func
from agent_framework import Workflow

from perdure.payloads import codec, registry
from perdure.workflow import hosted, naming


class AgentFunctionApp(df.DFApp):  # type: ignore[misc]  # its base has no types
    """A Durable Functions app that hosts Agent Framework workflows as durable, stateful HTTP services.

    Args:
        workflow: The only workflow; it may have no name of its own. A factory is called once for each run.
        workflows: Several workflows, by name or each with a name of its own.
        http_auth_level: The key that a caller of the HTTP routes needs on Azure; none is asked for locally.
        enable_health_check: Whether there is a ``health`` route.
        types: Further classes that values of the shared state, messages and outputs may have. Those that handlers
            name, those defined below the app folder, builtins and the framework's own are known already.
        on_state_conflict: What becomes of a run in which two siblings of a superstep write one key: ``warn`` records
            an event and the later in canonical order wins; ``fail`` fails the run.
        strict_executor_state: Whether a changed executor attribute that cannot be encoded fails the run.
        allow_pickle: Whether values without any other encoding are pickled, authenticated with ``pickle_key``.
        pickle_key: The secret for that; 16 to 64 bytes.
        app_folder: The folder of the app; that of the calling module if not given.

    Raises:
        ValueError: If there is no workflow, names clash or are missing, or an executor id cannot be addressed.
    """

    def __init__(
        self,
        *,
        workflow: hosted.Source | None = None,
        workflows: Sequence[hosted.Source] | Mapping[str, hosted.Source] | None = None,
        http_auth_level: func.AuthLevel | str = func.AuthLevel.FUNCTION,
        enable_health_check: bool = True,
        types: Sequence[type] = (),
        on_state_conflict: Literal["warn", "fail"] = "warn",
        strict_executor_state: bool = False,
        allow_pickle: bool = False,
        pickle_key: bytes | None = None,
        app_folder: str | pathlib.Path | None = None,
    ) -> None:
        if on_state_conflict not in ("warn", "fail"):
            raise ValueError(f'on_state_conflict is {on_state_conflict!r}; it must be "warn" or "fail".')
        super().__init__(http_auth_level=http_auth_level)
        self.enable_health_check = enable_health_check
        self.app_folder = pathlib.Path(app_folder).resolve() if app_folder is not None else _folder_of_caller()
        known = registry.Registry(self.app_folder)
        known.add(*types)
        coder = codec.Codec(known, allow_pickle=allow_pickle, pickle_key=pickle_key)
        self.workflows: Mapping[str, hosted.HostedWorkflow] = {
            name: hosted.HostedWorkflow(
                name,
                source,
                coder,
                known,
                strict_executor_state=strict_executor_state,
                fail_on_conflict=on_state_conflict == "fail",
            )
            for name, source in _named(workflow, workflows)
        }


def _named(
    workflow: hosted.Source | None, workflows: Sequence[hosted.Source] | Mapping[str, hosted.Source] | None
) -> list[tuple[str, hosted.Source]]:
    """Give every workflow a name, and refuse names that clash or are missing."""
    if isinstance(workflows, Mapping):
        found = list(workflows.items())
        if workflow is not None:
            found.append((_own_name(workflow) or _missing_name(), workflow))
    else:
        sources = [*([workflow] if workflow is not None else []), *(workflows or ())]
        sole = len(sources) == 1
        found = [(_own_name(source) or (naming.SOLE_NAME if sole else _missing_name()), source) for source in sources]
    if not found:
        raise ValueError("AgentFunctionApp hosts nothing: give it workflow=... or workflows=[...].")
    seen: dict[str, str] = {}
    for name, _ in found:
        if not name or naming.is_automatic(name):
            _missing_name()
        folded = naming.legal(name).casefold()
        if folded in seen:
            raise ValueError(
                f"Two workflows are called {seen[folded]!r} and {name!r}, which are the same in any case: "
                "give one of them another name."
            )
        seen[folded] = name
    return found


def _own_name(source: hosted.Source) -> str | None:
    """The name that a workflow was built with; None if the builder made one up."""
    built: Any = source if isinstance(source, Workflow) else _build(source)
    return None if naming.is_automatic(built.name) else built.name


def _build(factory: Callable[[], Workflow]) -> Workflow:
    built = factory() if callable(factory) else factory
    if not isinstance(built, Workflow):
        raise ValueError(
            f"A workflow must be a Workflow or a function that builds one; {factory!r} gave a {type(built).__name__}. "
            "Call .build() on the WorkflowBuilder."
        )
    return built


def _missing_name() -> str:
    raise ValueError(
        "Among several workflows each needs a name that stays the same: "
        'build them with WorkflowBuilder(name="...", ...), or give workflows={"name": workflow}.'
    )


def _folder_of_caller() -> pathlib.Path | None:
    """The folder of the module that constructs the app."""
    file = sys._getframe(2).f_globals.get("__file__")  # pyright: ignore[reportPrivateUsage]
    return pathlib.Path(file).resolve().parent if file else None
