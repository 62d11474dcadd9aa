"""A functional workflow as a graph of one executor, which is run again and again until its function returns.

Each step of the function that returns ends a turn: the turn's result records it, and the executor sends itself a
message for the next. The function stays where it is meanwhile, holding on to nothing but memory; where that is gone,
it is run again over what is recorded, as the framework does it after a pause.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from agent_framework import (
    Executor,
    FunctionalWorkflow,
    FunctionalWorkflowDefinition,
    StepWrapper,
    Workflow,
    WorkflowMessage,
)

from perdure import errors
from perdure.workflow import function_pass, functional_graph, graph, protocol, recorder, shared_state

Functional = FunctionalWorkflow | FunctionalWorkflowDefinition

INPUT: Final = "input"
STEP: Final = "step:"
ANSWER: Final = "answer:"

_IMMUTABLE: Final = (str, bytes, int, float, bool, type(None))


def graph_of(source: Functional) -> Workflow:
    """Give a functional workflow as the graph that perdure hosts.

    Raises:
        ValueError: If its function takes no input, or a step's results cannot be recorded.
    """
    built = source.build() if isinstance(source, FunctionalWorkflowDefinition) else source
    lost = functional_graph.unreplayable(built)
    if lost:
        raise ValueError(
            f"The results of {', '.join(map(repr, lost))} of workflow {built.name!r} cannot be recorded: what the step "
            "captured may be another thing when it is run again. Define it at the top of a module and pass what it "
            "needs as arguments, or say what tells its calls apart: @step(replay_key=...)."
        )
    return graph.alone(FunctionExecutor(built), built.name, built.description, built.graph_signature_hash)


class RequestWithdrawn(errors.PerdureError):
    """A request that a function waits for gets no answer."""


class FunctionExecutor(Executor):
    """Runs the function of a functional workflow, a turn at a time.

    Args:
        workflow: The workflow; it is never run itself.
    """

    def __init__(self, workflow: FunctionalWorkflow) -> None:
        super().__init__(workflow.name, type="function", defer_discovery=True)
        self.workflow = workflow
        self._input = functional_graph.input_type(workflow)
        self._pass: function_pass.Pass | None = None
        self._written: dict[str, Any] = {}
        self._turn = 0
        self._paused = False
        self._over = False
        self._asked: list[str] = []
        self._steps: list[str] = []

    @property
    def input_types(self) -> list[Any]:
        """What the function takes."""
        return [self._input]

    @property
    def output_types(self) -> list[Any]:
        """What it sends: nothing that anybody but itself receives."""
        return []

    @property
    def workflow_output_types(self) -> list[Any]:
        """What the function and its steps take and give: all of it may have to be recorded."""
        return list(functional_graph.value_types(self.workflow))

    @property
    def step_names(self) -> list[str]:
        """The steps that can be found without running the function."""
        return functional_graph.step_names(self.workflow)

    def drawn(self) -> dict[str, Any]:
        """Give the function and the steps that it calls as nodes and edges, and as a Mermaid drawing."""
        nodes = [{"id": self.id, "type": "function"}, *({"id": name, "type": "step"} for name in self.step_names)]
        edges = [{"from": self.id, "to": name, "kind": "calls"} for name in self.step_names]
        boxes = [f'  n{number}["{_quoted(node["id"])}"];' for number, node in enumerate(nodes)]
        arrows = [f"  n0 --> n{number};" for number in range(1, len(nodes))]
        return {"nodes": nodes, "edges": edges, "mermaid": "\n".join(["flowchart TD", *boxes, *arrows])}

    def can_handle(self, message: WorkflowMessage) -> bool:
        """Say whether it takes a message: an input, an answer, or its own."""
        own = message.source_id == self.id or message.type == graph.MessageType.RESPONSE
        return own or graph.is_instance_of(message.data, self._input)

    async def execute(
        self,
        message: Any,
        source_executor_ids: list[str],
        state: Any,
        runner_context: Any,
        trace_contexts: list[dict[str, str]] | None = None,
        source_span_ids: list[str] | None = None,
    ) -> None:
        """Take an input or an answer, or go on; until a step has returned, or the function pauses or returns."""
        seen: shared_state.SharedState = state
        if message.type == graph.MessageType.RESPONSE:
            asked = message.original_request_info_event.request_id
            seen.keep(f"{ANSWER}{asked}", message.data, f"the answer to request {asked!r}")
            self._asked = [other for other in self._asked if other != asked]
            if self._over or not self._paused:
                return
        elif message.source_id != self.id:
            seen.keep(INPUT, message.data, "the input of the run")
        try:
            await self._go(seen, runner_context)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of the function where it stands; whoever goes on begins from what is recorded."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    async def _cancel_pending_request(self, request_id: str, ctx: Any) -> None:
        """Hear that a request was withdrawn: a function that waits for its answer cannot go on."""
        del ctx
        if not self._over:
            raise RequestWithdrawn(
                f"Request {request_id!r} was withdrawn, and {self.id!r} waits for its answer.",
                "A function cannot go on without an answer that it asked for; start another run.",
            )

    async def on_checkpoint_save(self) -> dict[str, Any]:
        """Give what tells this copy's place in the run from every other."""
        return {
            "turn": self._turn,
            "paused": self._paused,
            "over": self._over,
            "asked": self._asked,
            "steps": self._steps,
        }

    async def on_checkpoint_restore(self, state: dict[str, Any]) -> None:
        """Take the place of a copy that is gone."""
        self._turn, self._paused, self._over = state["turn"], state["paused"], state["over"]
        self._asked, self._steps = state["asked"], state["steps"]

    async def _go(self, state: shared_state.SharedState, ctx: recorder.Recorder) -> None:
        self._turn += 1
        self._paused = False
        while True:
            going = self._pass
            if going is None:
                going = self._pass = self._begin(state, ctx)
            going.proceed()
            await going.news()
            steps = going.take_steps()
            if not steps:
                # The steps that returned before one raised are recorded first: a retry finds them.
                going.check()
            await self._record(going, steps, state, ctx)
            if steps or not going.over:
                await ctx.send_message(WorkflowMessage(data=None, source_id=self.id))
                return
            self._pass = None
            if not going.requests():
                break
            if all(not state.has_kept(f"{ANSWER}{asked}") for asked in going.requests()):
                self._paused = True
                return
        self._over = True
        for output in going.outputs():
            await ctx.add_event(output)
        for asked in self._asked:
            ctx.withdraw(asked)
        self._asked = []

    def _begin(self, state: shared_state.SharedState, ctx: recorder.Recorder) -> function_pass.Pass:
        kept = state.kept()
        steps = {
            key.removeprefix(STEP): function_pass.StepRecord(*record)
            for key, record in kept.items()
            if key.startswith(STEP)
        }
        names = self.step_names
        gone = sorted({functional_graph.step_of(key) for key in steps} & set(self._steps) - set(names))
        if gone:
            raise protocol.Stranded(
                f"The run holds results of {', '.join(map(repr, gone))}, which the function of workflow {self.id!r} no "
                "longer calls. It waits; start the host with code that does, or terminate the run."
            )
        self._steps = names
        today = functional_graph.renewed(steps, self.workflow)
        answers = {key.removeprefix(ANSWER): given for key, given in kept.items() if key.startswith(ANSWER)}
        self._written = state.live()
        past = function_pass.Past(
            kept[INPUT], {today[key]: step for key, step in steps.items()}, dict(self._written), answers
        )
        return function_pass.Pass(self.workflow, past, ctx.host_metadata, ctx.is_streaming())

    async def _record(
        self,
        going: function_pass.Pass,
        steps: dict[str, function_pass.StepRecord],
        state: shared_state.SharedState,
        ctx: recorder.Recorder,
    ) -> None:
        for key, record in steps.items():
            state.keep(f"{STEP}{key}", list(record), f"what step {functional_graph.step_of(key)!r} returned")
        for key, value in going.state().items():
            # A value that cannot change and is the same object is what it was: it need not be encoded to know that.
            if not (type(value) in _IMMUTABLE and key in self._written and self._written[key] is value):
                state.set(key, value)
                self._written[key] = value
        for event in going.take_events():
            if event.type.startswith("executor_"):
                ctx.add_step_event(event)
            else:
                await ctx.add_event(event)
        for asked, request in going.requests().items():
            if asked not in self._asked and not state.has_kept(f"{ANSWER}{asked}"):
                self._asked.append(asked)
                await ctx.add_request_info_event(request)


def given(workflow: Workflow) -> Workflow | FunctionalWorkflow:
    """Give a hosted workflow in the form in which it was given."""
    start = workflow.get_start_executor()
    return start.workflow if isinstance(start, FunctionExecutor) else workflow


def _quoted(name: str) -> str:
    return name.replace('"', "#quot;")


Hostable = Workflow | Functional
"""What a factory may build."""


def hostable(source: Hostable | Callable[[], Hostable]) -> Workflow | Callable[[], Workflow]:
    """Give a workflow of either form, or its factory, as one of the graph form.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(source, Workflow):
        return source
    if isinstance(source, Functional):
        return graph_of(source)
    if not callable(source) or isinstance(source, StepWrapper):
        raise ValueError(_no_workflow(source, source))
    factory = source

    def build() -> Workflow:
        built = factory()
        if isinstance(built, Functional):
            return graph_of(built)
        if not isinstance(built, Workflow):
            raise ValueError(_no_workflow(factory, built))
        return built

    return build


def _no_workflow(source: object, built: object) -> str:
    what = f"this is a {type(built).__name__}" if source is built else f"{source!r} gave a {type(built).__name__}"
    if inspect.iscoroutine(built):
        built.close()
        return f"A factory builds a workflow when it is called, and cannot be async: {source!r} gave a coroutine."
    return (
        f"A workflow must be a Workflow, a @workflow function, or a function that builds one; {what}. "
        "Call .build() on the WorkflowBuilder."
    )
