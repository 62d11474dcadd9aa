from __future__ import annotations

import re

import openapi_spec_validator
from agent_framework import Agent
from tests.agents import world

from perdure import AgentFunctionApp
from perdure.routes import table
from perdure.testing import ScriptedChatClient


async def test_the_document_has_the_routes_of_agents_and_is_valid() -> None:
    app = AgentFunctionApp()
    for name in ("helper", "a name / with signs"):
        app.add_agent(Agent(client=ScriptedChatClient([]), name=name))
    async with world.serve(app) as served:
        answer = await served.call("GET", "openapi.json")

    document = answer.json()
    openapi_spec_validator.validate(document)
    described = {(path.lstrip("/"), method.upper()) for path, item in document["paths"].items() for method in item}
    routes = table.of([], list(app.agents))
    assert described == {(route.path, route.method) for route in routes if route.name != "docs"}
    references = set(re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', answer.text))
    assert references <= set(document["components"]["schemas"])


def test_no_two_functions_of_agents_have_one_name() -> None:
    names = [route.name for route in table.of([], ["a", "a-sessions", "sessions", "a b", "a_b", "read-a"])]
    assert len(names) == len(set(names))
