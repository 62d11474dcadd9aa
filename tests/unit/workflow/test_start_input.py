from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import pydantic
import pytest
from agent_framework import (
    Agent,
    AgentExecutorRequest,
    Executor,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    executor,
    handler,
)
from agent_framework.orchestrations import MagenticPlanReviewResponse
from tests.workflow import support

from perdure import AgentFunctionApp, errors
from perdure.testing import ScriptedChatClient
from perdure.workflow import hosted, json_schema

JSON = "application/json"


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Line:
    article: str
    count: int


@dataclass
class Order:
    customer: str
    lines: list[Line]
    due: datetime.date | None = None
    colour: Colour = Colour.RED
    price: decimal.Decimal = decimal.Decimal("1.0")


class Address(pydantic.BaseModel):
    street: str
    number: int


class Person(pydantic.BaseModel):
    name: str
    home: Address
    others: dict[str, Address] = {}


class Options(TypedDict):
    depth: int


@dataclass
class Ask:
    """A dataclass with a message of the framework's in it."""

    message: Message
    count: int
    others: list[Message] = field(default_factory=list)


def hosted_for(*kinds: Any) -> hosted.HostedWorkflow:
    """Host a workflow whose start executor takes these types."""
    if len(kinds) == 1:

        async def take(value: Any, ctx: WorkflowContext[Any, Any]) -> None:
            await ctx.yield_output(value)

        start: Executor = executor(id="take", input=kinds[0])(take)
    else:
        members: dict[str, Any] = {f"take{index}": _method(kind) for index, kind in enumerate(kinds)}
        start = type("Several", (Executor,), members)(id="take")
    return support.sole(support.app_of(WorkflowBuilder(start_executor=start).build()))


def _method(kind: Any) -> Any:
    async def take(self: Any, value: Any, ctx: WorkflowContext[Any, Any]) -> None:
        await ctx.yield_output(value)

    return handler(input=kind, output=str, workflow_output=str)(take)


def decoded(kind: Any, body: bytes | str, content_type: str = JSON) -> Any:
    raw = body.encode() if isinstance(body, str) else body
    return hosted_for(kind)._input.decode(raw, content_type)  # pyright: ignore[reportPrivateUsage]


def refused(kind: Any, body: bytes | str, content_type: str = JSON) -> dict[str, str]:
    """Refuse a body; gives what is wrong by JSON pointer."""
    with pytest.raises(errors.InvalidInput) as caught:
        decoded(kind, body, content_type)
    return dict(caught.value.errors)


ACCEPTED: list[tuple[Any, str, Any]] = [
    (str, '"text"', "text"),
    (str, "plain {text}", "plain {text}"),
    (str, '{"a": 1}', '{"a": 1}'),
    (str, "5", "5"),
    (str, '"123"', "123"),
    (int, "5", 5),
    (float, "5", 5.0),
    (float, "5.5", 5.5),
    (bool, "true", True),
    (dict, '{"a": [1, null]}', {"a": [1, None]}),
    (list[int], "[1, 2]", [1, 2]),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (set[str], '["a"]', {"a"}),
    (int | str, "5", 5),
    (int | str, '"5"', "5"),
    (str | int, "5", 5),
    (int | None, "5", 5),
    (Literal["a", "b"], '"a"', "a"),
    (Colour, '"red"', Colour.RED),
    (datetime.date, '"2026-11-22"', datetime.date(2026, 11, 22)),
    (datetime.datetime, '"2026-11-22T10:00:00Z"', datetime.datetime(2026, 11, 22, 10, tzinfo=datetime.UTC)),
    (uuid.UUID, '"00000000-0000-0000-0000-000000000005"', uuid.UUID(int=5)),
    (decimal.Decimal, '"1.10"', decimal.Decimal("1.10")),
    (
        Person,
        '{"name": "A", "home": {"street": "H", "number": 1}}',
        Person(name="A", home=Address(street="H", number=1)),
    ),
    (
        Order,
        '{"customer": "A", "lines": [{"article": "x", "count": 1}], "due": "2026-11-22"}',
        Order("A", [Line("x", 1)], datetime.date(2026, 11, 22)),
    ),
    (list[Line], '[{"article": "x", "count": 1}]', [Line("x", 1)]),
    (Person | Line, '{"article": "x", "count": 1}', Line("x", 1)),
    (dict[str, Line | None], '{"a": {"article": "x", "count": 1}, "b": null}', {"a": Line("x", 1), "b": None}),
    (Any, '{"a": 1}', {"a": 1}),
    (object, "[1]", [1]),
]


@pytest.mark.parametrize(("kind", "body", "expected"), ACCEPTED)
def test_start_input_is_decoded_to_the_declared_type(kind: Any, body: str, expected: Any) -> None:
    """The start input is decoded to the declared type, unions and nested models included."""
    value = decoded(kind, body)
    assert value == expected
    assert type(value) is type(expected)


REFUSED: list[tuple[Any, str, str]] = [
    (int, '"5"', ""),
    (int, "5.5", ""),
    (int, "true", ""),
    (bool, "1", ""),
    (float, '"1.5"', ""),
    (dict, "[1]", ""),
    (list[int], '[1, "2"]', "/1"),
    (tuple[int, str], "[1]", "/1"),
    (Colour, '"green"', ""),
    (datetime.date, '"yesterday"', ""),
    (Person, '{"name": "A", "home": {"street": "H", "number": "one"}}', "/home/number"),
    (Person, '{"name": "A"}', "/home"),
    (
        Person,
        '{"name": "A", "home": {"street": "H", "number": 1}, "others": {"a/b~c": {"street": 1, "number": 1}}}',
        "/others/a~1b~0c/street",
    ),
    (Order, '{"customer": "A", "lines": [{"article": "x"}]}', "/lines/0/count"),
    (list[Line], '[{"article": "x", "count": 1}, {"article": 2, "count": 1}]', "/1/article"),
    (Literal["a", "b"], '"c"', ""),
    (int, "{not json", ""),
    (dict, '{"a": 1', ""),
    (int, "NaN", ""),
]


@pytest.mark.parametrize(("kind", "body", "pointer"), REFUSED)
def test_value_that_does_not_fit_is_refused_at_the_door(kind: Any, body: str, pointer: str) -> None:
    """A value that fits none is refused at the door, with JSON pointers to what is wrong."""
    assert pointer in refused(kind, body)


@pytest.mark.parametrize("content_type", ["", "application/x-www-form-urlencoded"])
def test_json_that_does_not_parse_and_came_without_its_type_is_refused_with_where_it_breaks(content_type: str) -> None:
    """So curl sends it. Where text is taken it is a text as any other: a mail may begin with a bracket."""
    with pytest.raises(errors.InvalidInput, match=r"not valid JSON: .*byte 1.*a str is none of what"):
        decoded(dict, "{bad", content_type)
    assert decoded(str, "{bad", content_type) == "{bad"
    assert decoded(str, "[Reminder] Monday at 10", content_type) == "[Reminder] Monday at 10"


@pytest.mark.parametrize("body", ["", "  \n", "null", " null "])
def test_empty_body_is_refused(body: str) -> None:
    """An empty body and null are refused: a workflow takes neither as its input."""
    for kind in (str, int, dict, Any, int | None):
        with pytest.raises(errors.EmptyInput):
            decoded(kind, body)


def test_text_is_the_text() -> None:
    """A text/plain body is the text."""
    assert decoded(str, '"quoted"', "text/plain; charset=utf-8") == '"quoted"'
    assert decoded(int | str, "5", "text/plain") == "5"
    assert refused(int, "5", "text/plain")


@pytest.mark.parametrize("content_type", [JSON, "text/plain", "", "application/octet-stream"])
@pytest.mark.parametrize("kind", [str, int, dict, Any])
def test_invalid_utf8_is_refused(kind: Any, content_type: str) -> None:
    """A body that is not UTF-8 is refused."""
    assert refused(kind, b'"\xff\xfe"', content_type)


def test_huge_numbers_stay_what_they_are_or_are_refused() -> None:
    """A number that a type cannot hold is refused; none is changed on the way."""
    assert decoded(int, str(2**63)) == 2**63
    assert decoded(int, str(-(2**63))) == -(2**63)
    assert decoded(int, str(10**40)) == 10**40
    assert decoded(dict, json.dumps({"a": 10**40})) == {"a": 10**40}
    assert decoded(float, "1e300") == 1e300
    assert refused(float, "1e999")


def test_deep_nesting_is_refused_not_a_crash() -> None:
    """A body that nests too deeply is refused."""
    assert refused(list, "[" * 100_000 + "]" * 100_000)


MESSAGE = {"role": "user", "contents": [{"type": "text", "text": "hello"}]}


def test_framework_types_are_read_from_json() -> None:
    """The start input is decoded to the framework's types: Message, list[Message], AgentExecutorRequest."""
    message = decoded(Message, json.dumps(MESSAGE))
    assert (type(message), message.role, message.text) == (Message, "user", "hello")
    messages = decoded(list[Message], json.dumps([MESSAGE, MESSAGE]))
    assert [item.text for item in messages] == ["hello", "hello"]
    request = decoded(AgentExecutorRequest, json.dumps({"messages": [MESSAGE], "should_respond": False}))
    assert (type(request), request.messages[0].text, request.should_respond) == (AgentExecutorRequest, "hello", False)
    either = decoded(str | list[Message], json.dumps([MESSAGE]))
    assert either[0].text == "hello"
    assert decoded(str | Message | list[str | Message], json.dumps(["a", MESSAGE]))[1].text == "hello"
    ask = decoded(Ask, json.dumps({"message": MESSAGE, "count": 1, "others": [MESSAGE]}))
    assert (ask.message.text, ask.count, ask.others[0].text) == ("hello", 1, "hello")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Message, "5"),
        (Message, "[]"),
        (Message, '{"no": "role"}'),
        (Message, '{"role": "user", "contents": 5}'),
        (list[Message], json.dumps(MESSAGE)),
        (list[Message], "[5]"),
        (AgentExecutorRequest, "{}"),
        (AgentExecutorRequest, '{"messages": 5}'),
        (AgentExecutorRequest, '{"messages": [5]}'),
        (AgentExecutorRequest, json.dumps({"messages": [MESSAGE], "should_respond": "perhaps"})),
        (AgentExecutorRequest, json.dumps({"messages": [MESSAGE], "unknown": 1})),
        (Ask, json.dumps({"message": MESSAGE, "count": "one"})),
        (Ask, json.dumps({"message": 5, "count": 1})),
    ],
)
def test_what_is_no_value_of_a_framework_type_is_refused(kind: Any, body: str) -> None:
    """A value that fits none is refused at the door, the framework's types included."""
    assert refused(kind, body)


def test_what_is_wrong_inside_a_framework_type_has_its_place() -> None:
    """A value that fits none is refused with JSON pointers to what is wrong, in the framework's types too."""
    assert "/count" in refused(Ask, json.dumps({"message": MESSAGE, "count": "one"}))
    assert "/others/1" in refused(Ask, json.dumps({"message": MESSAGE, "count": 1, "others": [MESSAGE, 5]}))
    assert "/messages/0" in refused(AgentExecutorRequest, '{"messages": [5]}')


def test_client_never_names_a_class() -> None:
    """What a client sends never names a class."""
    body = json.dumps({"$type": "tests.unit.workflow.test_start_input.Line", "article": "x", "count": 1})
    assert type(decoded(dict, body)) is dict
    assert type(decoded(Any, body)) is dict


def test_start_executor_with_several_handlers_takes_the_first_type_that_fits() -> None:
    """The start input is decoded to a type of any handler."""
    found = hosted_for(int, Person, str)._input  # pyright: ignore[reportPrivateUsage]
    assert found.decode(b"5", JSON) == 5
    assert found.decode(b'"five"', JSON) == "five"
    assert type(found.decode(b'{"name": "A", "home": {"street": "H", "number": 1}}', JSON)) is Person
    with pytest.raises(errors.InvalidInput, match="int, Person, str"):
        found.decode(b"[1]", JSON)


@pytest.mark.parametrize("body", ['{"topic": "x"}', "[1, 2]", "5", "no JSON"])
def test_an_agent_that_starts_a_workflow_is_told_what_is_no_message_as_the_text_it_is(body: str) -> None:
    agent: Any = Agent(client=ScriptedChatClient([]), name="inner")
    app = AgentFunctionApp(workflow=WorkflowBuilder(start_executor=agent, name="flow").build())
    workflow = app.hosted_workflows["flow"]
    ref, _ = workflow.accept(body.encode(), JSON)

    assert workflow.codec.decode(ref, lambda digest, owner: b"") == body


def test_schema_of_every_type_can_be_given() -> None:
    """GET workflow/{name} gives a JSON schema of the input, whatever its type."""
    for kind in [item[0] for item in ACCEPTED] + [Message, list[Message], AgentExecutorRequest, Ask, str | Message]:
        assert isinstance(hosted_for(kind).describe()["inputSchema"], dict)


def test_schema_of_a_union_refers_to_what_is_in_it() -> None:
    """Two classes of one name stay two, and each reference leads somewhere."""

    def other() -> type[pydantic.BaseModel]:
        class Line(pydantic.BaseModel):
            text: str

        class Letter(pydantic.BaseModel):
            line: Line

        return Letter

    class Line(pydantic.BaseModel):
        number: int

    class Order(pydantic.BaseModel):
        line: Line

    schema = json_schema.of([Order, other(), list[Message] | list[Order]])

    def target(ref: str) -> Any:
        return schema["$defs"][ref.removeprefix("#/$defs/")]

    order, letter, many = schema["anyOf"]
    assert "number" in target(target(order["$ref"])["properties"]["line"]["$ref"])["properties"]
    assert "text" in target(target(letter["$ref"])["properties"]["line"]["$ref"])["properties"]
    assert many["anyOf"][0]["items"]["required"] == ["role", "contents"]
    assert many["anyOf"][1]["items"] == order


def test_schema_says_what_framework_types_are_made_of() -> None:
    assert json_schema.of([list[Message]])["type"] == "array"
    assert json_schema.of([MagenticPlanReviewResponse])["properties"]["review"]["type"] == "array"
    assert json_schema.of([object]) == {}
