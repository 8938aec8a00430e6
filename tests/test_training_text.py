"""What the Training tab says of a round to whoever looks."""

from __future__ import annotations

from pathlib import Path

from cogrpo.registry import Checkpoint
from db.models import Round, now
from ui import training_text
from ui.training import _moved


def test_a_failed_round_tells_its_last_sentence_and_nothing_of_the_machine():
    error = 'Traceback (most recent call last):\n  File "/home/me/secret.py", line 1\nOSError: no <disk>\n'
    told = training_text.report(Round(id=3, state="failed", error=error))
    assert "OSError: no &lt;disk&gt;" in told
    assert "secret" not in told and "Traceback" not in told


def test_where_nobody_can_decide_a_round_that_waits_says_how_somebody_could():
    rows = [Round(id=3, state="gated", cause="votes", attempts=0, created_at=now())]
    served = Checkpoint("emoji", Path("weights"), "a" * 64, "champion", "champion")
    told = [training_text.overview(rows, 0, served, None, admin) for admin in (False, True)]
    assert ["STUDIO_ADMIN_TOKEN" in each for each in told] == [True, False]


def test_measures_bear_names_that_a_reader_understands():
    check = {
        "name": "near_duplicates", "steps": 4, "outcome": "pass", "asked": False, "champion": 0.0, "candidate": 0.0,
        "difference": 0.0, "low": 0.0, "high": 0.0,
    }  # fmt: skip
    told = training_text.verdict({"checks": [check], "passed": True, "people": None, "hack_meter": None})
    assert "pairs that look alike" in told and "near_duplicates" not in told


def test_the_curves_are_those_that_the_round_has_moved():
    still, gone = [[0.5, 1.0, 1.0, 1.0]], [[0.5, 0.8, 1.0, 1.0]]
    shown = [{"before": still, "after": still}, {"before": still, "after": gone}]
    assert max(shown, key=_moved)["after"] == gone
