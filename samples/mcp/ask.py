"""Ask an agent as an assistant would: over the Model Context Protocol, with the official client.

python ask.py                                                the tools that there are
python ask.py travel_rules "Meals in France?" --session ann-1
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import mcp
import mcp_types


async def ask(url: str, tool: str | None, query: str, session: str | None) -> int:
    """List the tools, or call one; gives the exit code."""
    async with mcp.Client(url) as client:
        if tool is None:
            for found in (await client.list_tools()).tools:
                print(f"{found.name}: {found.description}")
            return 0
        arguments = {"query": query} if session is None else {"query": query, "sessionId": session}
        result = await client.call_tool(tool, arguments)
        for content in result.content:
            if isinstance(content, mcp_types.TextContent):
                print(content.text)
        return 1 if result.is_error else 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Ask an agent over the Model Context Protocol.")
    parser.add_argument("tool", nargs="?", help="the agent; without it the tools are listed")
    parser.add_argument("query", nargs="?", default="", help="what to ask")
    parser.add_argument("--session", help="the same again goes on with the same conversation")
    parser.add_argument("--url", default="http://localhost:7071/runtime/webhooks/mcp", help="where the tools are")
    told = parser.parse_args()
    sys.exit(asyncio.run(ask(told.url, told.tool, told.query, told.session)))


if __name__ == "__main__":
    main()
