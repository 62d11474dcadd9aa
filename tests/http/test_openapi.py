from __future__ import annotations

import re
from typing import Any

import openapi_spec_validator

from perdure.routes import table


async def test_the_document_is_valid_openapi(world: Any) -> None:
    document = (await world.client.get("openapi.json")).json()

    openapi_spec_validator.validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": f"{world.url}/api"}]


async def test_the_document_has_every_route_and_no_other(serve: Any) -> None:
    world = await serve("echo")
    document = (await world.client.get("openapi.json")).json()

    described = {(path.lstrip("/"), method.upper()) for path, item in document["paths"].items() for method in item}
    served = {(route.path, route.method) for route in table.of(["echo"]) if route.name != "docs"}
    assert described == served


async def test_every_reference_in_the_document_leads_somewhere(serve: Any) -> None:
    world = await serve("order", "a name / with signs")
    document = (await world.client.get("openapi.json")).json()

    openapi_spec_validator.validate(document)
    references = set(
        re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', (await world.client.get("openapi.json")).text)
    )
    assert "order.Order" in references
    assert references <= set(document["components"]["schemas"])


async def test_the_page_needs_nothing_from_elsewhere(world: Any) -> None:
    page = await world.client.get("docs")

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)
    assert "openapi.json" in page.text
