"""The classes that may be encoded and decoded, known by a stable name."""

from __future__ import annotations

import importlib
import importlib.machinery
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from perdure import errors
from perdure.payloads.codec import annotation

_INSTALLED = frozenset({"site-packages", "dist-packages"})


class Custom(NamedTuple):
    """How a class of the user's own choosing is encoded."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class Defaults:
    """What ``perdure.codec.register`` was told: holds for every registry of the process."""

    def __init__(self) -> None:
        self.customs: dict[type, Custom] = {}
        self.names: dict[str, type] = {}
        self.version = 0

    def register(self, cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
        """Encode a class by a pair of functions, from now on and everywhere."""
        self.customs[cls] = Custom(encode, decode)
        self.names[class_name(cls)] = cls
        self.version += 1


DEFAULTS = Defaults()


def class_name(cls: type) -> str:
    """Give the stable name of a class, ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


class Registry:
    """Which classes an app's payloads may hold.

    Admitted are the framework's own classes, those defined below the app folder, and those added here.

    Args:
        app_folder: Classes of modules below it are admitted, packages installed there excepted.
    """

    def __init__(self, app_folder: pathlib.Path | None = None) -> None:
        self._folder = app_folder.resolve() if app_folder is not None else None
        self._names: dict[str, type] = {}
        self._added: set[type] = set()
        self._customs: dict[type, Custom] = {}
        self._modules: dict[str, bool] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """Changes whenever something that was decided about a class may be out of date."""
        return self._version + DEFAULTS.version

    def add(self, *classes: type) -> None:
        """Admit classes; of two with one name, both are encoded and the later is decoded to."""
        for cls in classes:
            if not isinstance(cls, type):
                raise errors.UsageError(f"{cls!r} is not a class.", "types=[...] takes classes.")
            self._added.add(cls)
            self._names[class_name(cls)] = cls
        self._version += 1

    def add_annotation(self, hint: object) -> None:
        """Admit every class that a type annotation names, and those that the fields of these classes name."""
        self.add(*annotation.classes(hint))

    def register(self, cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
        """Encode a class by a pair of functions: ``decode(encode(value))`` gives the value back."""
        self._customs[cls] = Custom(encode, decode)
        self._names[class_name(cls)] = cls
        self._version += 1

    def custom(self, cls: type) -> Custom | None:
        """Give the functions registered for exactly this class."""
        return self._customs.get(cls) or DEFAULTS.customs.get(cls)

    def name_of(self, cls: type) -> str | None:
        """Give the name of an admitted class, or None if it is not admitted."""
        name = class_name(cls)
        if cls in self._added or self.custom(cls) is not None:
            return name
        if not (is_framework(cls.__module__) or self._is_app(cls.__module__)):
            return None
        return name if _find(sys.modules.get(cls.__module__), cls.__qualname__) is cls else None

    def resolve(self, name: str) -> type:
        """Give the admitted class of this name, importing a module of the app or the framework if need be.

        Raises:
            CodecError: If no admitted class has this name.
        """
        known = self._names.get(name) or DEFAULTS.names.get(name)
        if known is not None:
            return known
        module, _, qualname = name.partition(":")
        if all(part.isidentifier() for part in (*module.split("."), *qualname.split("."))):
            found = _find(self._module(module), qualname)
            if isinstance(found, type) and found.__module__ == module and self.name_of(found) == name:
                return found
        raise errors.CodecError(
            f"A payload holds a value of the class {name!r}, which is not known here.",
            "It was renamed or removed: bring it back, or name it in AgentFunctionApp(types=[...]).",
        )

    def _module(self, name: str) -> object:
        if name in sys.modules:
            return sys.modules[name]
        if is_framework(name) or self._is_in_folder(name):
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as exc:
                raise errors.CodecError(f"A payload needs the module {name!r}, which does not import: {exc}.") from exc
        return None

    def _is_in_folder(self, name: str) -> bool:
        """Whether every step of a dotted module name is found below the app folder, without importing it."""
        if self._folder is None:
            return False
        path, dotted = [str(self._folder)], ""
        for part in name.split("."):
            dotted = f"{dotted}.{part}" if dotted else part
            spec = importlib.machinery.PathFinder.find_spec(dotted, path)
            if spec is None or (spec.origin is not None and not self._holds(spec.origin)):
                return False
            path = list(spec.submodule_search_locations or ())
        return True

    def _is_app(self, module: str) -> bool:
        known = self._modules.get(module)
        if known is None:
            file = getattr(sys.modules.get(module), "__file__", None)
            known = self._modules[module] = file is not None and self._holds(file)
        return known

    def _holds(self, file: str) -> bool:
        if self._folder is None:
            return False
        path = pathlib.Path(file).resolve()
        return path.is_relative_to(self._folder) and _INSTALLED.isdisjoint(path.relative_to(self._folder).parts)


def is_framework(module: str) -> bool:
    """Whether a module belongs to Agent Framework or one of its packages."""
    root = module.partition(".")[0]
    return root == "agent_framework" or root.startswith("agent_framework_")


def _find(module: object, qualname: str) -> object:
    found = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found
