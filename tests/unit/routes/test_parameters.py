from __future__ import annotations

import pytest

from perdure.routes import messages, parameters, problems


def request(query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> messages.Request:
    return messages.Request("GET", "", {}, query or {}, headers or {})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5),
        ("Wait=5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=5", 5),
        ("respond-async;wait=5", 5),
        ("wait = 5 ; foo", 5),
        ("wait=0", 0),
        ("wait=100000", parameters.MAX_WAIT_SECONDS),
        ("", None),
        ("await=5", None),
        ("wait=5s", None),
        ("wait=-5", None),
        ("wait", None),
    ],
)
def test_a_preferred_wait_is_read(header: str, seconds: int | None) -> None:
    assert parameters.prefer_wait(header) == seconds


@pytest.mark.parametrize(
    ("query", "headers", "seconds"),
    [
        ({}, {}, 0),
        ({"timeoutSeconds": "30"}, {}, 0),
        ({"waitForResponse": "TRUE"}, {}, 10),
        ({"waitForResponse": "yes", "timeoutSeconds": "1.5"}, {}, 1.5),
        ({"waitForResponse": "true"}, {"x-ms-wait-for-response": "no"}, 0),
        ({"waitForResponse": "false"}, {"prefer": "wait=7"}, 7),
        ({"waitForResponse": "true"}, {"prefer": "wait=0"}, 0),
    ],
)
def test_the_wait_is_the_most_particular_one(query: dict[str, str], headers: dict[str, str], seconds: float) -> None:
    assert parameters.waiting(request(query, headers)).seconds == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00Z", 3600.0),
        ("1970-01-01T01:00:00", 3600.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T01:00:00 01:00", 0.0),
        ("1970-01-01 01:00:00", 3600.0),
    ],
)
def test_a_time_without_an_offset_is_utc(text: str, seconds: float) -> None:
    assert parameters.moment(request({"createdFrom": text}), "createdFrom") == seconds


@pytest.mark.parametrize("text", ["", "now", "10000-01-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(problems.Problem) as told:
        parameters.moment(request({"createdFrom": text}), "createdFrom")
    assert told.value.status == 400


def test_a_refused_value_is_repeated_cut_short() -> None:
    with pytest.raises(problems.Problem) as told:
        parameters.legal_run_id("runId", "x" * 100_000)
    assert len(told.value.detail) < 500
