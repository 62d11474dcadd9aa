from __future__ import annotations

import collections.abc
import dataclasses
import enum
import pathlib
import sys
import textwrap
import typing
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic
import pytest
from typing_extensions import TypedDict

from perdure import errors
from perdure.payloads import codec, refs
from perdure.payloads.codec import registry

T = TypeVar("T")


class Leaf(enum.Enum):
    A = 1


class Options(TypedDict):
    leaf: Leaf


@dataclasses.dataclass
class Node(Generic[T]):
    options: Options
    item: T
    parent: Node[Any] | None = None


class Model(pydantic.BaseModel):
    nodes: dict[str, list[Node[int]]]


class Row(NamedTuple):
    model: Model | None


class Boxed(pydantic.BaseModel, Generic[T]):
    item: T


EVERYTHING = {Row, Model, Node, Options, Leaf}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (Row, EVERYTHING),
        (list[Row] | None, EVERYTHING),
        (typing.Annotated[dict[str, tuple[Row, ...]], "note"], EVERYTHING),
        (collections.abc.Callable[[Leaf], Options], {Leaf, Options}),
        (typing.Literal[Leaf.A], {Leaf}),
        (typing.NewType("L", Leaf), {Leaf}),
        (TypeVar("B", bound=Leaf), {Leaf}),
        (Boxed[Leaf], {Leaf, Boxed, Boxed[Leaf]}),
        (str | int | None, set()),
        (Any, set()),
    ],
)
def test_every_class_in_an_annotation_is_admitted(hint: Any, expected: set[type]) -> None:
    known = registry.Registry()
    known.add_annotation(hint)
    for cls in expected:
        assert known.name_of(cls) == f"{cls.__module__}:{cls.__qualname__}"
    others = {Row, Model, Node, Options, Leaf, Boxed} - expected
    assert not any(known.name_of(cls) for cls in others)


def test_only_classes_are_added() -> None:
    with pytest.raises(errors.UsageError, match="is not a class"):
        registry.Registry().add("Leaf")  # type: ignore[arg-type]


def test_of_two_classes_with_one_name_both_encode_and_the_later_is_decoded() -> None:
    def make() -> type:
        @dataclasses.dataclass
        class Same:
            x: int

        return Same

    first, second = make(), make()
    known = registry.Registry()
    known.add(first, second)
    ref = codec.Codec(known).encode(first(1), [], where="")
    assert type(codec.Codec(known).decode(ref, lambda digest, owner: b"")) is second


@pytest.fixture
def app(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    folder = tmp_path / "app"
    files = {
        "shop_models.py": "import dataclasses\n@dataclasses.dataclass\nclass Order:\n    id: int\n",
        "shop/__init__.py": "",
        "shop/parts.py": "class Part:\n    class Kind:\n        pass\n",
        ".venv/lib/site-packages/stranger.py": "class Stranger:\n    pass\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    (tmp_path / "outside.py").write_text("class Outside:\n    pass\n")
    for path in (folder / ".venv/lib/site-packages", tmp_path, folder):
        monkeypatch.syspath_prepend(str(path))
    return folder


def _forget() -> None:
    for name in ("shop_models", "shop", "shop.parts", "stranger", "outside"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("shop_models:Order", True),
        ("shop.parts:Part", True),
        ("shop.parts:Part.Kind", True),
        ("outside:Outside", False),
        ("stranger:Stranger", False),
        ("shop.parts:Missing", False),
        ("shop.nowhere:Part", False),
        ("shop_models:dataclasses.Field", False),
        ("shop_models:dataclasses", False),
        ("shop..parts:Part", False),
        ("agent_framework._types:Message", True),
        ("agent_framework._types:json", False),
        ("agent_framework._nowhere:X", False),
    ],
)
def test_a_fresh_process_imports_only_the_apps_own_modules(name: str, known: bool, app: pathlib.Path) -> None:
    _forget()
    found = registry.Registry(app)
    if known:
        assert registry.class_name(found.resolve(name)) == name
    else:
        with pytest.raises(errors.CodecError):
            found.resolve(name)
        assert not {"outside", "stranger"} & set(sys.modules)
    _forget()


def test_classes_below_the_app_folder_are_admitted_and_others_not(app: pathlib.Path) -> None:
    _forget()
    import importlib

    order = importlib.import_module("shop_models").Order(1)
    stranger = importlib.import_module("stranger").Stranger()
    values = codec.Codec(registry.Registry(app))
    ref = values.encode(order, [], where="")
    assert values.decode(ref, lambda digest, owner: b"") == order
    with pytest.raises(errors.CodecError, match=r"stranger\.Stranger"):
        values.encode(stranger, [], where="an output")
    with pytest.raises(errors.CodecError, match="not known here"):
        codec.Codec(registry.Registry()).decode(refs.Ref(ref.inline), lambda digest, owner: b"")
    _forget()
