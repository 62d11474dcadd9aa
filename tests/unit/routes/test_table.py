from __future__ import annotations

import pytest

from perdure.routes import problems, site, table
from perdure.testing import memory_runs


def of(*names: str) -> table.Table:
    return table.Table(site.Site(dict.fromkeys(names), memory_runs.MemoryRuns({})))  # type: ignore[arg-type]  # names only


def test_functions_bear_the_names_that_apps_know() -> None:
    names = [route.name for route in table.of(["triage"])]

    assert {"dafx-triage-start", "dafx-triage-status", "health_check"} <= set(names)
    assert len(set(names)) == len(names)


def test_the_names_of_several_workflows_do_not_clash() -> None:
    names = [route.name for route in table.of(["a b", "a_b", "a-b", "run"])]

    assert len(set(names)) == len(names)


def test_a_workflow_called_run_and_the_sole_route_are_both_there() -> None:
    found = of("run")

    assert found.match("POST", ["workflow", "run"])[0].name == "workflow-run"
    assert found.match("GET", ["workflow", "run"])[0].name == "dafx-run-graph"
    assert found.match("POST", ["workflow", "run", "run"])[0].name == "dafx-run-start"


def test_a_workflow_whose_name_has_braces_is_no_parameter() -> None:
    found = of("{id}", "other")

    assert found.match("GET", ["workflow", "{ID}"])[0].fixed == {"name": "{id}"}
    with pytest.raises(problems.Problem, match="No workflow"):
        found.match("GET", ["workflow", "anything"])


def test_parameters_keep_their_case() -> None:
    route, params = of("triage").match("GET", ["WORKFLOW", "Triage", "STATUS", "AbC"])

    assert route.name == "dafx-triage-status"
    assert params == {"name": "triage", "id": "AbC"}


def test_head_is_served_where_get_is() -> None:
    assert of("triage").match("HEAD", ["health"])[0].name == "health_check"
    with pytest.raises(problems.Problem) as told:
        of("triage").match("HEAD", ["workflow", "triage", "run"])
    assert told.value.status == 405
