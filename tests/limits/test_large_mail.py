"""A mail of 20 MB goes through the sample application by HTTP, and the hub keeps it once."""

from __future__ import annotations

import pathlib
import random

import pytest
from tests.host import served

SAMPLE = pathlib.Path(__file__).parents[2] / "samples" / "email_triage"
MAIL_BYTES = 20_000_000
GROWTH_LIMIT_BYTES = 25_000_000

SPAM = "URGENT! You have won $1,000,000! Click here to claim your prize.\n"
HAM = "Hi! A reminder that the team meeting is on Monday at 10. Could you bring the figures?\n"


def mail(beginning: str) -> str:
    """A mail of random text: two bytes a character, nearly eleven bits of them random."""
    noise = random.Random(beginning).choices([chr(code) for code in range(0x80, 0x800)], k=MAIL_BYTES // 2)
    return beginning + "".join(noise)


def size(hub: pathlib.Path) -> int:
    """The bytes of all files in a hub."""
    return sum(file.stat().st_size for file in hub.iterdir())


@pytest.mark.parametrize(
    ("beginning", "outcome"), [(SPAM, "Email marked as spam: "), (HAM, "Email sent: ")], ids=["spam", "ham"]
)
def test_a_mail_of_20_mb_comes_to_its_outcome_and_is_kept_once(
    tmp_path: pathlib.Path, beginning: str, outcome: str
) -> None:
    hub = tmp_path / "hub"
    with served.start(SAMPLE, "--hub", hub, CHAT_CLIENT="offline") as host:
        before = size(hub)
        text = mail(beginning)
        assert len(text.encode()) > MAIL_BYTES
        answer = served.post(host.url, text, run_id="r")
        assert answer.status_code == 202, answer.text
        (output,) = served.finished(host.url, "r", "email_triage")["output"]
        assert output.startswith(outcome)
        assert size(hub) - before < GROWTH_LIMIT_BYTES
        served.stop(host)
    assert size(hub) - before < GROWTH_LIMIT_BYTES
