"""Lists of messages, encoded so that a conversation that grows by one message re-stores only its tail.

Full chunks of messages are payloads of their own, and so are full chunks of references to chunks. What a list
itself holds is, for each height, the references to chunks that no higher chunk holds yet, and the last few messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import agent_framework

if TYPE_CHECKING:
    from perdure.payloads.codec import decoding, encoding

MESSAGES = 8
"""Messages in a chunk."""
CHUNKS = 32
"""References in a chunk of chunks."""
_MOST_HEIGHTS = 16


def is_long(values: list[Any]) -> bool:
    """Whether a list is a conversation that fills a chunk."""
    if len(values) < MESSAGES or type(values[0]) is not agent_framework.Message:
        return False
    return all(type(item) is agent_framework.Message for item in values)


def encode(e: encoding.Encoding, values: list[Any], depth: int) -> encoding.Node:
    """Give the tree of a list of messages."""
    nodes = e.sequence(values, depth)
    full = len(nodes) - len(nodes) % MESSAGES
    level = [e.chunk(nodes[start : start + MESSAGES]) for start in range(0, full, MESSAGES)]
    heights = []
    while True:
        full = len(level) - len(level) % CHUNKS
        heights.append(level[full:])
        if not full:
            break
        level = [e.chunk(level[start : start + CHUNKS]) for start in range(0, full, CHUNKS)]
    node = e.tag("messages", nodes[len(nodes) - len(nodes) % MESSAGES :])
    node["chunks"] = heights
    return node


def decode(d: decoding.Decoding, node: dict[str, Any]) -> list[Any]:
    """Give back a list of messages."""
    heights = node["chunks"]
    if len(heights) > _MOST_HEIGHTS:
        raise ValueError("a list of messages is too tall")
    digests: list[Any] = []
    for height in range(len(heights) - 1, -1, -1):
        digests = [inner for digest in digests for inner in d.chunk(digest)] if digests else []
        digests.extend(heights[height])
    values = [item for digest in digests for item in d.chunk(digest)]
    values.extend(d.sequence(node["v"]))
    return values
