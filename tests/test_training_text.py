"""What the Training tab says of a round to whoever looks."""

from __future__ import annotations

from db.models import Round
from ui import training_text


def test_a_failed_round_tells_its_last_sentence_and_nothing_of_the_machine():
    error = 'Traceback (most recent call last):\n  File "/home/me/secret.py", line 1\nOSError: no <disk>\n'
    told = training_text.report(Round(id=3, state="failed", error=error))
    assert "OSError: no &lt;disk&gt;" in told
    assert "secret" not in told and "Traceback" not in told
