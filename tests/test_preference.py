"""The preference reward: a taste from votes, its doubt, its share of the mix, and how a run gets it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_trainer import trainer

from cogrpo import rewards, training
from cogrpo.bradley_terry import Accuracy
from cogrpo.checkpoint import MANIFEST
from cogrpo.evaluation.taste import votes
from cogrpo.grpo import advantages
from cogrpo.rewards import preference
from cogrpo.rewards.base import Context, RewardError
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.features import COUNT, Features, colours
from cogrpo.rewards.mixer import Mixer
from cogrpo.trainer import TrainingError

NOBODY = Context(())


def flat(*colour: int) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).expand(1, 128, 128, 3)


@pytest.fixture(scope="module")
def cool(tmp_path_factory):
    """A folder with the taste of somebody who likes cool backgrounds, after 60 votes."""
    folder = tmp_path_factory.mktemp("taste") / "cool"
    compared, pictures = votes("cool", 60, np.random.default_rng(0))
    preference.fit(compared, pictures.__getitem__, folder)
    return folder


def test_a_taste_for_cool_backgrounds_is_learned_from_sixty_votes(cool):
    taste, (compared, pictures) = preference.read(cool), votes("cool", 100, np.random.default_rng(1))

    def score(side):
        images = np.stack([np.array(pictures[getattr(one, side)]) for one in compared])
        return taste(torch.from_numpy(images), [one.prompt for one in compared], NOBODY)

    better = (score("left") > score("right")).numpy()
    said = np.array([one.outcome for one in compared])
    assert (better == (said == "left"))[said != "tie"].mean() > 0.75  # the voter errs in one of ten
    assert taste.facts["accuracy"]["low"] > 0.5 and 0 < taste.share < 1


def test_scores_stay_in_their_range_and_depend_on_the_picture_alone(cool):
    taste, rng = preference.read(cool), torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 128, 128, 3), dtype=torch.uint8, generator=rng)
    prompts = ["a dog", "two cats"] * 10
    together = taste(images, prompts, NOBODY)
    alone = torch.cat([taste(images[i : i + 1], prompts[i : i + 1], NOBODY) for i in range(20)])
    assert torch.equal(together, alone) and ((together >= 0) & (together <= 1)).all()


def test_doubt_can_only_lower_the_score_and_is_greatest_where_nobody_voted(cool):
    taste = preference.read(cool)
    mean, deviation = taste.utility(flat(255, 0, 255), ["a dog"])
    assert taste(flat(255, 0, 255), ["a dog"], NOBODY) < torch.sigmoid(mean).float()
    compared, pictures = votes("cool", 60, np.random.default_rng(0))
    seen = torch.from_numpy(np.array(pictures[compared[0].left]))[None]
    assert deviation > taste.utility(seen, [compared[0].prompt])[1]


def test_the_same_votes_give_the_same_bytes_and_more_votes_less_doubt(tmp_path):
    compared, pictures = votes("bright", 80, np.random.default_rng(2))
    few = preference.fit(compared[:20], pictures.__getitem__, tmp_path / "few")
    many = preference.fit(compared, pictures.__getitem__, tmp_path / "many")
    preference.fit(compared, pictures.__getitem__, tmp_path / "again")
    assert many["deviation"] < few["deviation"] and (few["votes"], many["votes"]) == (20, 80)
    assert (tmp_path / "many" / MANIFEST).read_bytes() == (tmp_path / "again" / MANIFEST).read_bytes()


def test_swapped_sides_are_the_same_taste(tmp_path):
    compared, pictures = votes("cool", 30, np.random.default_rng(3))
    other = {"left": "right", "right": "left", "tie": "tie", "bad": "bad"}
    swapped = [
        one.model_copy(update={"left": one.right, "right": one.left, "outcome": other[one.outcome]})
        for one in compared
    ]
    for name, told in (("one", compared), ("other", swapped)):
        preference.fit(told, pictures.__getitem__, tmp_path / name)
    scores = [
        preference.read(tmp_path / name)(flat(0, 0, 255), ["a dog"], NOBODY) for name in ("one", "other")
    ]
    assert torch.allclose(*scores, atol=1e-5)


@pytest.mark.parametrize(
    "accuracy, share", [(None, 0.0), ((0.7, 0.5), 0.0), ((0.7, 0.45), 0.0), ((0.9, 0.8), 0.6)]
)
def test_the_share_follows_the_lower_end_of_the_accuracy(accuracy, share):
    told = None if accuracy is None else Accuracy(*accuracy, high=1.0, decided=50, groups=30)
    assert preference.share(told) == pytest.approx(share)


def test_votes_that_are_missing_are_told_where_somebody_can_tell():
    def told(mean, low):
        return preference.votes_missing(Accuracy(mean, low, 1.0, decided=40, groups=30), votes=40)

    assert preference.votes_missing(None, 3) is None and told(0.5, 0.3) is None
    assert told(0.7, 0.6) == 0
    assert told(0.6, 0.4) == 120  # the half width must halve, which takes four times the votes


def test_the_mix_takes_the_reward_with_the_share_it_has_earned(cool):
    taste = preference.read(cool)
    mixer = Mixer.load({"verifier": 1.0, "preference": 2.0}, ScoreCache(None), taste)
    assert mixer.weights == {"verifier": 1.0, "preference": pytest.approx(2 * taste.share)}
    taste.facts["share"] = 0.0
    assert Mixer.load({"verifier": 1.0, "preference": 2.0}, ScoreCache(None), taste).weights == {
        "verifier": 1.0
    }


def test_a_preference_that_comes_from_nowhere_is_refused():
    with pytest.raises(RewardError, match="name the folder of a fitted one in the field 'preference'"):
        rewards.load("preference")
    with pytest.raises(RewardError, match="needs a comparison"):
        preference.fit([], {}.__getitem__, None)


def test_a_damaged_or_foreign_fit_is_refused(cool, tmp_path):
    with pytest.raises(RewardError, match="cannot be read"):
        preference.read(tmp_path / "nothing")
    compared, pictures = votes("cool", 10, np.random.default_rng(4))
    preference.fit(compared, pictures.__getitem__, tmp_path / "fit")
    (tmp_path / "fit" / preference.TENSORS).write_bytes(b"x")
    with pytest.raises(RewardError, match="cannot be read"):
        preference.read(tmp_path / "fit")
    taste = preference.read(cool)
    with pytest.raises(RewardError, match="other features"):
        preference.Preference(taste.tensors, taste.facts | {"features": "0"}, "0" * 64)


def test_features_see_the_background_and_have_their_number():
    red, blue = flat(255, 0, 0), flat(0, 0, 255)
    assert colours(red)[0, :3].tolist() == [1, 0, 0] and colours(blue)[0, 3:6].tolist() == [0, 0, 1]
    assert Features()(torch.cat([red, blue]), ["a dog", "a cat"]).shape == (2, COUNT)


def test_what_a_fit_says_of_itself_can_be_read_without_it(cool):
    assert preference.told(cool) == json.loads((cool / preference.FACTS).read_text())
    assert preference.told(cool)["voters"] == 1


def test_doubt_lowers_a_picture_in_its_group_and_nothing_else_can_make_up_for_it(cool):
    taste = preference.read(cool)
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (8, 128, 128, 3), dtype=torch.uint8, generator=rng)
    mean, deviation = taste.utility(images, ["a dog"] * 8)
    for one in range(8):
        told = []
        for factor in (0.0, 1.0, 4.0):  # of the doubt about one picture; the others keep theirs
            doubt = deviation.clone()
            doubt[one] *= factor
            scores = torch.sigmoid(mean - preference.CAUTION * doubt)
            told.append(float(advantages(scores[None, None], torch.ones(1))[0][0, one]))
        assert told == sorted(told, reverse=True) and told[0] > told[2]


def test_a_run_goes_on_with_the_file_that_it_began_with_and_with_no_other(cool, tmp_path):
    compared, pictures = votes("bright", 10, np.random.default_rng(5))
    preference.fit(compared, pictures.__getitem__, tmp_path / "other")

    def begun(folder):
        return trainer(reward=preference.read(folder), rewards={"preference": 1.0})

    saved = {"config": {}, "origin": begun(cool).origin}
    training._check_same(tmp_path, saved, {}, begun(cool))
    with pytest.raises(TrainingError, match="holds a run with other rewards"):
        training._check_same(tmp_path, saved, {}, begun(tmp_path / "other"))
    image, prompts = flat(10, 20, 30), ["a dog"]
    again = [preference.read(cool)(image, prompts, NOBODY) for _ in range(2)]
    assert torch.equal(*again)
