"""A workflow as an app hosts it: its graph, its input, and what runs it once there is a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent_framework import AgentExecutor, Executor, Workflow, WorkflowInvocationKwargs

from perdure import errors
from perdure.payloads import codec, refs, store
from perdure.payloads.codec import registry
from perdure.workflow import (
    activity,
    answers,
    builds,
    diagram,
    events,
    executor_state,
    function_executor,
    graph,
    isolation,
    naming,
    options,
    orchestrator,
    pages,
    policy,
    protocol,
    run_state,
    runtime_tools,
    shape,
    snapshot,
    start_input,
    values,
)

Source = function_executor.Hostable | Callable[[], function_executor.Hostable]
"""A workflow of either form, or a factory that builds one for each run."""

Kwargs = WorkflowInvocationKwargs | Mapping[str, Any] | None
"""Keyword arguments of a run: for all executors, or by executor, as ``Workflow.run()`` takes them."""


class HostedWorkflow:
    """A workflow under the name it is hosted under.

    Args:
        name: That name.
        source: The workflow, or its factory: called once here, once more to see that it always builds the same
            graph, and then once a run and process.
        coder: The app's codec.
        known: The classes that it may encode; the types that handlers name are added.
        strict_executor_state: Whether an attribute that an executor changes and that cannot be encoded fails the run.
        fail_on_conflict: Whether two siblings of a superstep that write one key of the shared state fail the run.
        policies: Retries, timeouts and deadlines; the defaults if not given.
        listen: Entered around each step; nobody listens if not given.
        tools: The tools that runs may be given.

    Raises:
        ValueError: If an executor id cannot be addressed, or the factory builds different graphs.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        coder: codec.Codec,
        known: registry.Registry,
        *,
        strict_executor_state: bool = False,
        fail_on_conflict: bool = False,
        policies: policy.Options | None = None,
        listen: activity.Listen | None = None,
        tools: runtime_tools.RuntimeTools | None = None,
    ) -> None:
        self._listen = listen
        self.name = name
        self._tools = tools if tools is not None else runtime_tools.RuntimeTools()
        self.codec = coder
        source = function_executor.hostable(source)
        self.workflow = source if isinstance(source, Workflow) else source()
        self.shape = graph.shape_of(self.workflow, name)
        self.places = graph.places(self.workflow)
        for executor in self.places.values():
            naming.check_executor(executor.id)
        self._builds: builds.Builds | None = None
        if not isinstance(source, Workflow):
            self._builds = builds.Builds(source)
            self._check_factory(source)
        self._strict = strict_executor_state
        self._fail_on_conflict = fail_on_conflict
        self._options = policies if policies is not None else policy.Options()
        self.policies = policy.encode(self._options.resolve(name, self.places))
        self._admit_types(known)
        self.answer_types = answers.AnswerTypes(self.workflow.executors, self._type_of)
        start = self.workflow.get_start_executor()
        self._input = start_input.StartInput(
            self.workflow.input_types,
            lambda value: start.can_handle(graph.message(value, "input")),
            as_text=isinstance(start, AgentExecutor),
        )

    def accept(self, body: bytes, content_type: str) -> tuple[refs.Ref, list[refs.Blob]]:
        """Decode a request body to the start executor's input type and encode it.

        Raises:
            EmptyInput: If the body is empty or ``null``.
            InvalidInput: If it does not fit the type.
        """
        return self.encode(self._input.decode(body, content_type))

    def accept_run(self, body: bytes) -> tuple[refs.Ref, options.RunOptions, list[refs.Blob]]:
        """Decode an envelope: an input, and what else the run is given.

        Raises:
            EmptyInput: If the input is ``null``.
            InvalidInput: If it is no envelope, its input does not fit, or it asks for tools that there are not.
        """
        given = options.open_envelope(body)
        value, blobs = self.accept(bytes(given.input), "application/json")
        found, more = self.options(
            given.tools, given.function_invocation_kwargs, given.client_kwargs, stream=given.stream
        )
        return value, found, [*blobs, *more]

    def options(
        self,
        tools: runtime_tools.Tools = None,
        function_invocation_kwargs: Kwargs = None,
        client_kwargs: Kwargs = None,
        *,
        stream: bool = False,
    ) -> tuple[options.RunOptions, list[refs.Blob]]:
        """Encode what a run is given beside its input.

        Raises:
            InvalidInput: If a tool is code that the app does not know by name, or an executor is not named clearly.
            CodecError: If an argument cannot be encoded.
        """
        self._check_reach(tools or function_invocation_kwargs or client_kwargs)
        blobs: list[refs.Blob] = []
        named = self._tools.named(tools)
        given = {"function_invocation_kwargs": function_invocation_kwargs, "client_kwargs": client_kwargs}
        try:
            held = graph.run_kwargs(self.workflow, given)
        except ValueError as error:
            raise errors.InvalidInput([("", str(error))], str(error)) from error
        limit = values.INLINE.state
        state = {
            key: self.codec.encode(value, blobs, where="the arguments of the run", inline_limit=limit)
            for key, value in held.items()
        }
        found = options.RunOptions(
            stream,
            self.codec.encode(named, blobs, where="the tools of the run") if named else None,
            snapshot.layer_of(state, blobs) if state else None,
        )
        return found, blobs

    def accept_answer(
        self, request: run_state.Request, asked: Callable[[], Any], body: bytes, content_type: str
    ) -> tuple[refs.Ref, list[refs.Blob]]:
        """Decode the answer to a request to the type that it asks for, and encode it.

        Args:
            request: The request.
            asked: Gives what it asks.
            body: The answer as it was sent.
            content_type: Its media type.

        Raises:
            EmptyInput: If there is none.
            MalformedInput: If it is not JSON.
            InvalidInput: If it does not fit.
        """
        blobs: list[refs.Blob] = []
        value = self.answer_types.read(request, asked, body, content_type)
        return self.codec.encode(value, blobs, where=f"the answer to request {request.id!r}"), blobs

    def take(self, value: Any) -> tuple[refs.Ref, list[refs.Blob]]:
        """Encode a live value, which the start executor must take, as the input of a run.

        Raises:
            InvalidInput: If it is none of the types that it takes.
            CodecError: If it cannot be encoded.
        """
        return self.encode(self._input.check(value))

    def encode(self, value: Any) -> tuple[refs.Ref, list[refs.Blob]]:
        """Encode a value as the input of a run.

        Raises:
            CodecError: If it cannot be encoded.
        """
        blobs: list[refs.Blob] = []
        return self.codec.encode(value, blobs, where="the input of the run"), blobs

    def describe(self) -> dict[str, Any]:
        """Give the graph as plain JSON, with a JSON schema of the input and a Mermaid drawing."""
        start = self.workflow.get_start_executor()
        if isinstance(start, function_executor.FunctionExecutor):
            drawn = start.drawn()
        else:
            drawn = diagram.of(self.workflow, self.shape)
        return {
            "name": self.name,
            "description": self.workflow.description,
            "start": self.shape.start,
            **drawn,
            "inputSchema": self._input.schema(),
        }

    def _check_reach(self, given: object) -> None:
        if given and isinstance(self.workflow.get_start_executor(), function_executor.FunctionExecutor):
            said = (
                f"The workflow {self.name!r} is a function, which calls its agents itself: tools and keyword arguments "
                "that are given with a run reach none of them. Make them part of its input."
            )
            raise errors.InvalidInput([("", said)], said)

    def bind(
        self, payloads: store.PayloadStore, *, shared: bool = False, inline: values.Inline = values.INLINE
    ) -> Bound:
        """Put the workflow on a store of payloads, ready to run.

        Args:
            payloads: The store.
            shared: Whether other processes, perhaps with other code, work on the same runs. Then an activity has the
                same name whatever the code of the day, and the host says when a run's copies are released.
            inline: What travels through the engine and is not stored.
        """
        shelf = values.Shelf(self.codec, payloads, inline)
        kinds = {
            place: executor_state.Kind(self._copies(executor, place), strict=self._strict)
            for place, executor in self.places.items()
        }
        levels = dict(_levels("", self.workflow, self.shape))
        activities = activity.Activities(
            levels, kinds, shelf, self._options, self.answer_types, self._listen, self._tools
        )
        return Bound(self, shelf, activities, self._fail_on_conflict, self._release(activities), shared=shared)

    def _type_of(self, told: refs.Ref) -> Any:
        return self.codec.decode(told, _no_payload)

    def _copies(self, executor: Executor, place: str) -> executor_state.Copies:
        if self._builds is None:
            return isolation.Template(executor, place)
        return builds.Built(executor, place, self._builds)

    def _release(self, activities: activity.Activities) -> Callable[[str], None]:
        built = self._builds
        if built is None:
            return activities.release

        def release(run: str) -> None:
            activities.release(run)
            built.release(run)

        return release

    def _admit_types(self, known: registry.Registry) -> None:
        for executor in self.places.values():
            for annotation in (*executor.input_types, *executor.output_types, *executor.workflow_output_types):
                known.add_annotation(annotation)
            for request_type, response_type in graph.response_types(executor):
                known.add_annotation(request_type)
                known.add_annotation(response_type)

    def _check_factory(self, factory: Callable[[], Workflow]) -> None:
        again = graph.shape_of(factory(), self.name)
        if again != self.shape:
            raise ValueError(
                f"The factory of workflow {self.name!r} built two different graphs: executors {self.shape.executors} "
                f"and {again.executors}. Give every executor an explicit id, so that each build has the same ones."
            )


class Bound:
    """A hosted workflow on a store: the orchestration and its activities by their durable names."""

    def __init__(
        self,
        hosted: HostedWorkflow,
        shelf: values.Shelf,
        activities: activity.Activities,
        fail_on_conflict: bool,
        release: Callable[[str], None],
        *,
        shared: bool = False,
    ) -> None:
        self.hosted = hosted
        self.activities = activities
        self.release = release
        self._shelf = shelf
        names = {place: naming.activity(hosted.name, place) for place in hosted.places}
        self._names = names
        self.orchestrator = orchestrator.WorkflowOrchestrator(
            naming.orchestration(hosted.name),
            self._shared_name if shared else self._own_name,
            fail_on_conflict=fail_on_conflict,
            release=(lambda run: None) if shared else release,
            delta_bytes=shelf.inline.delta,
        )

    @property
    def activity_names(self) -> list[str]:
        """Durable names of the activities."""
        return [*self._names.values()]

    def _own_name(self, executor: str) -> str:
        # A run of older code may need an executor that is gone: any of the activities says so, and waits.
        return self._names.get(executor) or next(iter(self._names.values()))

    def _shared_name(self, executor: str) -> str:
        return naming.activity(self.hosted.name, executor)

    def start(self, message: refs.Ref, trace: dict[str, str], given: options.RunOptions = options.NONE) -> bytes:
        """Encode what a run is started with."""
        return orchestrator.encode_input(self.hosted.shape, message, trace, self.hosted.policies, given)

    def outputs(self, run: str, output: bytes) -> list[Any]:
        """Give a completed run's outputs as they were yielded."""
        seen = self.values_of(run)
        return [seen.decode(ref) for ref in self._output_refs(seen, output)]

    def plain_outputs(self, run: str, output: bytes) -> list[Any]:
        """Give a completed run's outputs as plain JSON."""
        seen = self.values_of(run)
        return [seen.plain(ref) for ref in self._output_refs(seen, output)]

    def state(self, run: str, output: bytes) -> dict[str, Any]:
        """Give a completed run's final shared state."""
        seen = self.values_of(run)
        found = snapshot.entries(orchestrator.decode_output(output).state, seen.read)
        return {key: seen.decode(ref) for key, ref in found.items() if not key.startswith(run_state.RESERVED)}

    def event(self, run: str, data: bytes) -> tuple[str, dict[str, Any]]:
        """Read an event of a run: its type and its data as plain JSON."""
        recorded = events.decode(data)
        return recorded.type, events.data(recorded, self.values_of(run).plain)

    def delta(self, said: activity.Delta) -> dict[str, Any]:
        """Give a part of an agent's answer as plain JSON."""
        shown = self.hosted.codec.shown(said.data)
        return {"superstep": said.superstep, "executorId": said.executor, "type": said.type, "data": shown}

    def event_fields(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Read an event's type and plain fields, without its value."""
        recorded = events.decode(data)
        return recorded.type, recorded.fields or {}

    def values_of(self, run: str) -> values.RunValues:
        """Give the values of a run."""
        return values.RunValues(self._shelf, run)

    def waiting(self, run: str) -> str | None:
        """Say what a run waits for that only new code can give."""
        return self.activities.stranded.get(run)

    @staticmethod
    def _output_refs(seen: values.RunValues, output: bytes) -> Iterator[refs.Ref]:
        ended = orchestrator.decode_output(output)
        yield from pages.read_all(ended.state, run_state.output_key, ended.pages, seen.read)


def _levels(path: str, workflow: Workflow, found: shape.Shape) -> Iterator[tuple[str, activity.Level]]:
    yield path, activity.Level(workflow, found)
    for executor in workflow.executors.values():
        wrapped = graph.inner(executor)
        if wrapped is not None:
            yield from _levels(naming.place(path, executor.id), wrapped, found.inside[executor.id])


def activities_of(bound: Bound) -> Mapping[str, protocol.Activity]:
    """Give every activity of a workflow by its durable name."""
    return dict.fromkeys(bound.activity_names, bound.activities)


def _no_payload(digest: bytes, owner: str) -> bytes:
    raise errors.PayloadMissing("A type is never kept in the store.", "This is an error of perdure's: report it.")
