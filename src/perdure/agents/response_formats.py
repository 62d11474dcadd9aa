"""The form that an agent's answer is to have, checked before a model is asked for it."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

import pydantic

from perdure import errors

_SCHEMA_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_FORMAT_TYPES: Final = frozenset({"json_schema", "json_object", "text"})


def read(given: Any) -> dict[str, Any] | type[pydantic.BaseModel] | None:
    """Read the form that an answer is to have; None if any will do.

    Args:
        given: A JSON schema, a format as model services name one, or in code a pydantic model.

    Raises:
        InvalidInput: If it is none of these; says where.
    """
    if given is None or is_model(given):
        return given
    if not isinstance(given, dict) or not given:
        raise errors.InvalidInput.at("/response_format", "it must be a JSON schema, an object")
    kind = given.get("type")
    if kind == "json_schema":
        inner = given.get("json_schema")
        if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
            raise errors.InvalidInput.at(
                "/response_format/json_schema", "it must be an object with a name and a schema"
            )
        _check_schema(inner["schema"], "/response_format/json_schema/schema")
        return given
    if isinstance(kind, str) and kind in _FORMAT_TYPES:
        return given
    _check_schema(given, "/response_format")
    return given


def _check_schema(schema: Any, where: str) -> None:
    """Refuse what is no JSON schema: the model's service would, after a call."""
    if not isinstance(schema, dict):
        raise errors.InvalidInput.at(where, "it must be a schema, an object")
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _SCHEMA_TYPES:
            raise errors.InvalidInput.at(f"{where}/type", f"it must be one of {', '.join(sorted(_SCHEMA_TYPES))}")
    for key in ("properties", "$defs"):
        inner = schema.get(key, {})
        if not isinstance(inner, dict):
            raise errors.InvalidInput.at(f"{where}/{key}", "it must be an object")
        for name, item in inner.items():
            _check_part(item, f"{where}/{key}/{name}")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        parts = schema.get(key, [])
        if not isinstance(parts, list):
            raise errors.InvalidInput.at(f"{where}/{key}", "it must be a list of schemas")
        for place, item in enumerate(parts):
            _check_part(item, f"{where}/{key}/{place}")
    for key in ("items", "additionalProperties", "not"):
        _check_part(schema.get(key, True), f"{where}/{key}")
    if not isinstance(schema.get("enum", []), list):
        raise errors.InvalidInput.at(f"{where}/enum", "it must be a list of values")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise errors.InvalidInput.at(f"{where}/required", "it must be a list of names")


def _check_part(item: Any, where: str) -> None:
    if not isinstance(item, bool):
        _check_schema(item, where)


def is_model(response_format: Any) -> TypeGuard[type[pydantic.BaseModel]]:
    """Say whether an answer is to be a pydantic model."""
    return isinstance(response_format, type) and issubclass(response_format, pydantic.BaseModel)
