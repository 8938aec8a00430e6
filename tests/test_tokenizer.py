"""Tokens and pixels of the embedded world, with the shipped code book."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cogrpo.emoji.scene import CATEGORIES, Placed, Scene, place, render, sample_spec
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.tokenizer import EMPTY, NO_VOTE, Tokenizer
from cogrpo.emoji.vocabulary import CLASSES
from cogrpo.models.emoji import WEIGHTS


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(WEIGHTS / "tokenizer.safetensors")


@pytest.fixture(scope="module")
def sprites() -> np.ndarray:
    return load_sprites()


def picture(scene: Scene, sprites: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(render(scene, sprites))[None]


def test_reconstruction_is_above_its_floor_also_without_an_empty_patch(tokenizer, sprites):
    rng = np.random.default_rng(4)
    scenes = [place(sample_spec(category, rng, "test"), rng) for category in CATEGORIES]
    square = next(emoji.index for emoji in CLASSES if emoji.name == "blue square")
    scenes.append(Scene(tuple(Placed(square, row, col) for row in (0, 4) for col in (0, 4)), 2))
    for scene in scenes:
        shown = picture(scene, sprites)
        error = (tokenizer.decode(tokenizer.encode(shown)).float() - shown.float()) / 255
        assert -10 * error.square().mean().log10() > 36, scene


def test_a_code_does_not_depend_on_the_background_unless_it_tells_it(tokenizer, sprites):
    fox = next(emoji.index for emoji in CLASSES if emoji.name == "fox")
    reads = [
        tokenizer.encode_on(picture(Scene((Placed(fox, 2, 2),), b), sprites), b)[1][0] for b in range(EMPTY)
    ]
    votes = tokenizer.votes[torch.stack(reads)]
    silent = (votes == NO_VOTE).all(0)
    assert silent.sum() >= 13
    assert all(torch.equal(tokens[silent], reads[0][silent]) for tokens in reads)
    told = [set(row[row != NO_VOTE].tolist()) for row in votes]
    assert told == [{background} for background in range(EMPTY)]


def test_most_votes_decide_the_background(tokenizer):
    tokens = torch.full((1, 64), 3)
    tokens[0, :30] = 5
    assert tokenizer.background(tokens).item() == 3
    tokens[0, :40] = 5
    assert tokenizer.background(tokens).item() == 5


def test_another_file_is_refused_by_name(tmp_path, tokenizer):
    with pytest.raises(ValueError, match=r"model\.safetensors: holds no emoji-tokenizer"):
        Tokenizer.load(WEIGHTS / "model.safetensors")
