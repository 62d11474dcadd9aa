from __future__ import annotations

import pytest

from perdure import errors


@pytest.mark.parametrize(
    ("message", "remedy", "told"),
    [
        ("The disk is full.", "Make room.", "The disk is full. Make room."),
        ("Connection refused", "Is it on?", "Connection refused. Is it on?"),
        ("It said [111]: no.", "", "It said [111]: no."),
        ("It said: Connection refused", "", "It said: Connection refused"),
    ],
)
def test_what_was_wrong_and_what_to_do_are_two_sentences(message: str, remedy: str, told: str) -> None:
    assert str(errors.PerdureError(message, remedy)) == told
