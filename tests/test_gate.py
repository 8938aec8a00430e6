import json
import re

import numpy as np
import pytest
from pydantic import ValidationError

from cogrpo import schedules
from cogrpo.config import load_config
from cogrpo.gate import DEFAULT, GateConfig, GateError, Rule, ScoreTable, interval, verdict
from cogrpo.gate_page import PicturePair, page
from cogrpo.guards import GROUP, PICTURE

CONFIG = load_config(DEFAULT, GateConfig)
PROMPTS, SEEDS, STEPS = 60, 4, (4, 8)
DRAWS = [(seed, steps) for steps in STEPS for seed in range(SEEDS)]
SCORES = ("verifier", "dual_encoder", "detector_b", *PICTURE, "clamped", "kl")


def table(checkpoint: str = "a", noise: int = 0, shift: dict | None = None, **changes) -> ScoreTable:
    """Scores that vary much between prompts and little within; `shift`: name -> added, or (steps, added)."""
    base, own = np.random.default_rng(7), np.random.default_rng(noise)
    values = {}
    for name in (*SCORES, *GROUP):
        columns = [steps for _, steps in DRAWS] if name in SCORES else list(STEPS)
        told = (shift or {}).get(name, 0.0)
        steps, added = told if isinstance(told, tuple) else (None, told)
        where = np.array([steps in (None, each) for each in columns])
        prompt = base.random((PROMPTS, 1))
        values[name] = prompt + own.normal(0, 0.01, (PROMPTS, len(columns))) + added * where
    fields = {
        "checkpoint": checkpoint * 64,
        "prompts": [f"prompt {index}" for index in range(PROMPTS)],
        "draws": DRAWS,
        "rewards": {"verifier": 2.0, "dual_encoder": 1.0},
        "scores": {name: values[name].tolist() for name in SCORES},
        "groups": {name: values[name].tolist() for name in GROUP},
        "schedules": {steps: [schedules.build("cosine", steps).table.tolist()] for steps in STEPS},
    }
    return ScoreTable(**(fields | changes))


BETTER = {"verifier": 0.05, "dual_encoder": 0.05}


def failed(result) -> set[tuple[str, int | None, str]]:
    return {(c.name, c.steps, c.outcome) for c in result.checks if c.outcome != "pass"}


def test_a_candidate_that_is_better_and_harms_nothing_passes():
    result = verdict(table("b", 1, BETTER), table(), CONFIG)
    assert result.passed and result.reasons == ()
    assert {check.name for check in result.checks} == {"mix", "verifier", "dual_encoder", *CONFIG.measures}
    assert (result.candidate, result.champion) == ("b" * 64, "a" * 64)
    assert (result.prompts, result.draws) == (60, 8)


def test_a_champion_does_not_beat_itself():
    result = verdict(table(), table(), CONFIG)
    assert not result.passed
    assert failed(result) == {("mix", None, "fail")}
    assert "mix: must rise, but the difference is +0.0000" in result.reasons[0]


@pytest.mark.parametrize("name", ["verifier", "dual_encoder"])
def test_the_mix_must_rise_and_no_reward_may_fall(name):
    assert verdict(table("b", 1, {name: 0.05}), table(), CONFIG).passed
    paid = verdict(table("b", 1, {**BETTER, name: -0.02}), table(), CONFIG)
    assert {each[:2] for each in failed(paid)} == {(name, None), (name, 4), (name, 8)}


def test_the_mix_is_the_mean_of_the_rewards_by_weight_in_standard_deviations():
    champion = table()
    mix = next(
        c for c in verdict(table("b", 1, {"verifier": 0.3}), champion, CONFIG).checks if c.name == "mix"
    )
    assert mix.difference == pytest.approx(2 / 3 * 0.3 / np.std(champion.scores["verifier"]), rel=0.02)
    assert 0 < mix.low < mix.difference < mix.high and mix.steps is None


def test_a_reward_may_not_rise_at_one_number_of_steps_at_the_cost_of_another():
    result = verdict(
        table("b", 1, BETTER | {"verifier": (4, 0.3)}), table("a", 0, {"verifier": (8, 0.1)}), CONFIG
    )
    assert failed(result) == {("verifier", 8, "fail")}


@pytest.mark.parametrize("name", CONFIG.measures)
@pytest.mark.parametrize("sign", [-1, 1])
def test_each_measure_holds_its_margin_on_its_side_at_each_number_of_steps(name, sign):
    rule = CONFIG.measures[name]
    margin = rule.may_fall if sign < 0 else rule.may_rise
    big = 1.5 * (rule.may_fall or rule.may_rise)
    result = verdict(table("b", 1, BETTER | {name: (8, sign * big)}), table(), CONFIG)
    assert failed(result) == (set() if margin is None else {(name, 8, "fail")})


def test_an_interval_across_the_margin_is_unclear_and_does_not_pass():
    assert Rule(must_rise=0.0).judge(-0.1, 0.1) == "unclear"
    assert Rule(may_fall=0.02).judge(-0.03, 0.1) == "unclear"
    assert Rule(may_fall=0.02).judge(-0.02, 0.1) == "pass"
    assert Rule(may_fall=0.02, may_rise=0.02).judge(-0.03, 0.03) == "unclear"
    assert Rule(may_fall=0.02, may_rise=0.02).judge(0.021, 0.03) == "fail"
    assert not verdict(table("b", 1, BETTER | {"detector_b": -0.02}), table(), CONFIG).passed


def test_the_interval_is_of_prompts_and_not_of_pictures():
    """Copies of a picture within its prompt are no new evidence; more prompts are."""
    few = np.random.default_rng(0).normal(0, 1, 100)
    low, high = interval(few, CONFIG)
    assert high - low == pytest.approx(2 * 1.96 * few.std() / 10, rel=0.1)
    assert np.diff(interval(np.tile(few, 4), CONFIG)) == pytest.approx((high - low) / 2, rel=0.1)
    wide = table("b", 1, BETTER)
    doubled = {name: [[*row, *row] for row in rows] for name, rows in wide.scores.items()}
    twice = wide.model_copy(update={"scores": doubled, "draws": (*wide.draws, *wide.draws)})
    base = table()
    doubled = {name: [[*row, *row] for row in rows] for name, rows in base.scores.items()}
    champion = base.model_copy(update={"scores": doubled, "draws": (*base.draws, *base.draws)})
    one, two = verdict(wide, base, CONFIG), verdict(twice, champion, CONFIG)
    for once, again in zip(one.checks, two.checks, strict=True):
        assert (again.low, again.high) == pytest.approx((once.low, once.high))


def test_the_interval_covers_no_difference_at_its_rate():
    config = CONFIG.model_copy(update={"resamples": 500})
    rng = np.random.default_rng(3)
    ends = np.array([interval(rng.normal(0, 1, 80), config) for _ in range(300)])
    covered = ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean()
    assert 0.91 < covered < 0.98


def test_prompts_that_differ_much_do_not_blur_a_paired_difference():
    result = verdict(table("b", 1, BETTER), table(), CONFIG)
    check = next(check for check in result.checks if check.name == "verifier" and check.steps is None)
    assert 0.04 < check.low < check.difference < check.high < 0.06


def test_the_same_tables_give_the_same_verdict():
    assert verdict(table("b", 1, BETTER), table(), CONFIG) == verdict(table("b", 1, BETTER), table(), CONFIG)


@pytest.mark.parametrize(
    "rows, told",
    [
        ([[0.5, 1, 1, 1], [0.4, 6, 1, 1], [0.2, 1, 1, 1], [0, 1, 1, 1]], "sampling_temperature: 6 in row 2"),
        ([[0.5, 1, 1, 1], [0, 1, 1, 1]], "a table of 2 rows"),
    ],
)
def test_a_schedule_that_is_not_sane_fails(rows, told):
    tables = table().schedules | {4: (schedules.build("cosine", 4).table.tolist(), rows)}
    result = verdict(table("b", 1, BETTER, schedules=tables), table(), CONFIG)
    assert not result.passed and failed(result) == set()
    assert told in result.reasons[0] and "at 4 steps" in result.reasons[0]


def test_r_may_rise_for_the_clamp_then_acts_and_is_counted():
    rows = schedules.build("cosine", 4).table.tolist()
    rows[1][0] = rows[-1][0] = 0.99
    tables = table().schedules | {4: (rows,)}
    assert verdict(table("b", 1, BETTER, schedules=tables), table(), CONFIG).passed


@pytest.mark.parametrize(
    "candidate, champion, told",
    [
        ({"prompts": [f"other {i}" for i in range(PROMPTS)]}, {}, "prompts: candidate and champion"),
        ({"draws": [(seed + 1, steps) for seed, steps in DRAWS]}, {}, "draws: candidate and champion"),
        ({}, {"groups": {}}, "'token_entropy' is missing in the table of the champion"),
        ({"rewards": {}}, {}, "rewards: the candidate's table names none"),
    ],
)
def test_tables_that_do_not_pair_are_refused_in_one_sentence(candidate, champion, told):
    with pytest.raises(GateError) as caught:
        verdict(table("b", 1, BETTER, **candidate), table(**champion), CONFIG)
    assert told in str(caught.value) and str(caught.value).endswith(".")


def test_too_few_prompts_give_no_verdict():
    config = CONFIG.model_copy(update={"least_prompts": PROMPTS + 1})
    with pytest.raises(GateError, match="^prompts: 60 are too few; allowed are 61 or more"):
        verdict(table("b", 1, BETTER), table(), config)


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": {"verifier": [[0.5] * 8] * 59}, "rewards": ["verifier"]},
        {"scores": {"verifier": [[0.5] * 7] * 60}, "rewards": ["verifier"]},
        {"scores": {"verifier": [[float("nan")] * 8] * 60}, "rewards": ["verifier"]},
        {"rewards": ["unknown"]},
        {"schedules": {4: [[[0, 1, 1, 1]]]}},
        {"checkpoint": "x"},
        {"extra": 1},
    ],
)
def test_a_table_of_the_wrong_shape_is_refused(changes):
    with pytest.raises(ValidationError):
        table(**changes)


def test_a_table_goes_through_json_unchanged():
    assert ScoreTable.model_validate_json(table().model_dump_json()) == table()


def test_a_rule_that_asks_nothing_or_too_much_is_refused():
    for nothing in ({}, {"may_fall": -1}, {"may_sink": 1}):
        with pytest.raises(ValidationError):
            Rule(**nothing)


def test_the_report_is_json_with_every_number():
    told = json.loads(verdict(table("b", 1, BETTER), table(), CONFIG).model_dump_json())
    assert told["passed"] and told["confidence"] == 0.95
    assert {"low", "high", "difference", "rule", "outcome"} <= set(told["checks"][0])


def test_the_page_needs_nothing_beside_it_and_shows_prompts_as_text():
    grey = np.full((16, 16, 3), 128, np.uint8)
    result = verdict(table("b", 1, {"verifier": -0.05}), table(), CONFIG)
    text = page(result, [PicturePair("<script>alert(1)</script>", 3, 4, grey, grey)])
    assert text.count('src="data:image/png;base64,') == 2
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"(src|href)=(?!\"data:)|url\(|@import", text)
    assert "Not passed" in text and result.reasons[0].replace("'", "&#39;") in text
    for check in result.checks:
        assert check.name in text and f"{check.low:+.4f} to {check.high:+.4f}" in text
