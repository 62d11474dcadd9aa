"""The template, as far as it can be held without Azure: what it names is there, and no key is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from perdure.deployment import arm

VARIANTS = [(plan, backend) for plan in get_args(arm.Plan) for backend in get_args(arm.Backend)]


def expressions(node: Any) -> Iterator[str]:
    """Every expression of a template."""
    if isinstance(node, dict):
        for item in node.values():
            yield from expressions(item)
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)
    elif isinstance(node, str) and node.startswith("["):
        yield node


def settings(template: arm.Json) -> str:
    (site,) = (item for item in template["resources"] if item["type"] == "Microsoft.Web/sites")
    found: str = site["properties"]["siteConfig"]["appSettings"]
    return found


@pytest.mark.parametrize(("plan", "backend"), VARIANTS)
def test_everything_that_the_template_names_is_in_it(plan: arm.Plan, backend: arm.Backend) -> None:
    template = arm.template(plan, backend)
    assert json.loads(json.dumps(template)) == template
    for text in expressions(template):
        assert text.endswith("]") and text.count("(") == text.count(")"), text
        assert set(re.findall(r"parameters\('(\w+)'\)", text)) <= set(template["parameters"]), text
        assert set(re.findall(r"\bvariables\('(\w+)'\)", text)) <= set(template["variables"]), text
    declared = {item["type"] for item in template["resources"]}
    for resource in template["resources"]:
        for needed in resource.get("dependsOn", ()):
            (kind,) = re.findall(r"^\[resourceId\('([\w./]+)'", needed)
            assert kind in declared, needed
        if "condition" not in resource:
            for kind in re.findall(r"(?:reference|listKeys)\(resourceId\('([\w./]+)'", json.dumps(resource)):
                assert kind in declared, kind


@pytest.mark.parametrize(("plan", "backend"), VARIANTS)
def test_every_parameter_without_a_default_is_in_the_file_of_parameters(plan: arm.Plan, backend: arm.Backend) -> None:
    template = arm.template(plan, backend)
    given = arm.parameters("hub1")["parameters"]
    assert set(given) <= set(template["parameters"])
    needed = {name for name, item in template["parameters"].items() if "defaultValue" not in item}
    assert needed <= set(given)


@pytest.mark.parametrize(("plan", "backend"), VARIANTS)
def test_the_app_signs_in_by_its_identity_and_has_the_roles_that_it_needs(plan: arm.Plan, backend: arm.Backend) -> None:
    template = arm.template(plan, backend)
    assigned = {
        item["properties"]["description"]
        for item in template["resources"]
        if item["type"] == "Microsoft.Authorization/roleAssignments"
    }
    expected = set(arm.ROLES) - (set() if backend == "scheduler" else {"Durable Task Data Contributor"})
    assert assigned == expected
    assert "AzureWebJobsStorage__accountName" in settings(template)
    assert "'AzureWebJobsStorage'" not in settings(template)
    assert "'TASKHUB_NAME'" in settings(template)
    # The content share of a Premium plan is the one thing that takes a key.
    assert ("listKeys" in json.dumps(template)) == (plan == "premium")


def test_settings_of_the_platform_are_not_given_to_a_flex_app_which_refuses_them() -> None:
    refused = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_CONTENTSHARE"}
    assert not any(f"'{name}'" in settings(arm.template("flex", "storage")) for name in refused)
    assert all(f"'{name}'" in settings(arm.template("premium", "storage")) for name in refused)


def test_secrets_are_references_to_a_vault() -> None:
    assert (
        "@Microsoft.KeyVault(VaultName={0};SecretName={1})" in arm.template("flex", "storage")["variables"]["secrets"]
    )
