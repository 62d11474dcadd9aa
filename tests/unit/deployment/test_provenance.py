from __future__ import annotations

import pathlib

import pytest

from perdure.deployment import provenance


@pytest.mark.parametrize(
    ("direct_url", "requirement"),
    [
        (None, "perdure[azure]"),
        (
            '{"url": "file:///src/my%20perdure", "dir_info": {"editable": true}}',
            "./wheels/perdure-0.1.0-py3-none-any.whl[azure]",
        ),
        ('{"url": "file:///src/perdure", "dir_info": {}}', "./wheels/perdure-0.1.0-py3-none-any.whl[azure]"),
        (
            '{"url": "file:///tmp/perdure-0.1.0.post1-py3-none-any.whl", "archive_info": {}}',
            "./wheels/perdure-0.1.0.post1-py3-none-any.whl[azure]",
        ),
        (
            '{"url": "https://example.com/p", "vcs_info": {"vcs": "git", "commit_id": "12ab"}}',
            "perdure[azure] @ git+https://example.com/p@12ab",
        ),
        (
            '{"url": "https://example.com/perdure-0.1.0-py3-none-any.whl", "archive_info": {}}',
            "perdure[azure] @ https://example.com/perdure-0.1.0-py3-none-any.whl",
        ),
    ],
)
def test_an_app_asks_for_the_perdure_that_it_was_tried_with(direct_url: str | None, requirement: str) -> None:
    origin = provenance.read("0.1.0", direct_url)
    assert origin.requirement == requirement
    assert origin.is_release == (direct_url is None)


def test_the_command_that_makes_the_wheel_bears_blanks() -> None:
    origin = provenance.read("0.1.0", '{"url": "file:///src/my%20perdure", "dir_info": {"editable": true}}')
    command = origin.command(pathlib.Path("/my app"))
    assert command == "python -m pip wheel --no-deps -w '/my app/wheels' '/src/my perdure'"
