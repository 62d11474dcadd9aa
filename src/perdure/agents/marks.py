"""Marks of messages: whether one in a history is still what was stored, seen at a glance.

A history of a thousand messages is looked through after each turn, so a look must cost little beside what the
framework itself does with every message of it.
"""

from __future__ import annotations

import copy
from typing import Any, Final, NamedTuple

from agent_framework import Content, Message

from perdure.agents import log
from perdure.payloads import refs
from perdure.workflow import values

_CONTENTS: Final = "contents"
_NOT_STORED: Final = "raw_representation"
_ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None)})


class Mark(NamedTuple):
    """What a message was.

    Attributes:
        fields: Its attributes, with a list of its contents; None where a glance cannot tell.
        contents: The attributes of each content.
        digest: Digest of its encoding, where a glance cannot tell.
    """

    fields: dict[str, Any] | None
    contents: list[dict[str, Any]]
    digest: bytes


def of(run: values.RunValues, message: Message) -> Mark:
    """Mark a message."""
    contents = [_seen(content) for content in message.contents]
    fields = _seen(message)
    if fields is None or any(content is None for content in contents):
        return Mark(None, [], _digest(run, message))
    return Mark(fields, [content for content in contents if content is not None], b"")


def holds(run: values.RunValues, mark: Mark, message: Message) -> bool:
    """Say whether a message is still what was marked."""
    if mark.fields is None:
        return _digest(run, message) == mark.digest
    now = vars(message)
    contents = message.contents
    if len(contents) != len(mark.contents):
        return False
    if now != mark.fields and {**now, _CONTENTS: None} != {**mark.fields, _CONTENTS: None}:
        return False
    return all(vars(content) == seen for content, seen in zip(contents, mark.contents, strict=True))


def _seen(item: Message | Content) -> dict[str, Any] | None:
    """Give an object's attributes as they are now, however they are changed later; None if that cannot be had."""
    fields = dict(vars(item))
    for name, value in fields.items():
        if type(value) in _ATOMS or name == _NOT_STORED:
            continue
        if name == _CONTENTS and isinstance(item, Message):
            fields[name] = list(value)
        elif _is_plain(value):
            fields[name] = copy.deepcopy(value)
        else:
            return None
    return fields


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return kind is list and all(_is_plain(item) for item in value)


def _digest(run: values.RunValues, message: Message) -> bytes:
    ref = run.encode(message, [], where="a message", inline_limit=log.WHOLE)
    return ref.digest if ref.inline is None else refs.digest(ref.inline)
