from collections import Counter

import numpy as np
import pytest

from cogrpo.emoji import captions
from cogrpo.emoji.captions import caption
from cogrpo.emoji.grammar import parse, to_text
from cogrpo.emoji.scene import CATEGORIES, ObjectSpec, Relation, Spec, sample_spec


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("category", CATEGORIES)
def test_the_grammar_reads_every_caption_back(category, split):
    rng = np.random.default_rng(CATEGORIES.index(category))
    for _ in range(500):
        spec = sample_spec(category, rng, split)
        text = caption(spec, rng, split)
        parsed = parse(text)
        assert (parsed.spec, parsed.unknown, parsed.notes) == (spec, (), ()), text
        canonical = parse(to_text(spec))
        assert (canonical.spec, canonical.unknown, canonical.notes) == (spec, (), ()), to_text(spec)


def test_captions_vary_and_follow_their_seed():
    spec = Spec((ObjectSpec("dog"), ObjectSpec("heart", "red")), (Relation(0, "left", 1),), "pink")
    texts = [caption(spec, np.random.default_rng(seed)) for seed in range(300)]
    assert len(set(texts)) > 200
    assert texts[:20] == [caption(spec, np.random.default_rng(seed)) for seed in range(20)]
    words = Counter(word for text in texts for word in text.lower().split())
    assert words["dog"] and words["puppy"] and words["background"]


@pytest.mark.parametrize("category", CATEGORIES)
def test_test_captions_never_have_a_training_template(category):
    """Told by the frames alone: nouns, numbers and colours are the same in both."""
    rng = np.random.default_rng(3)
    specs = [sample_spec(category, rng, "train") for _ in range(400)]
    marks = ("directly", "together with", "illustration", "backdrop", "the background is", "accompanied",
             "nothing else", "on the left and", "at the top and", "which", "background: ",
             "can you")  # fmt: skip
    train = [caption(spec, rng, "train").lower() for spec in specs]
    assert not [text for text in train if any(mark in text for mark in marks)]
    test = [caption(spec, rng, "test").lower() for spec in specs]
    assert sum(any(mark in text for mark in marks) for text in test) > 0.3 * len(specs)


def test_template_tables_are_disjoint():
    for name in ("TWO", "RELATED", "RELATED_TO_IT", "NEXT", "GROUNDS", "LEADS"):
        assert not set(getattr(captions, name)) & set(getattr(captions, f"TEST_{name}"))


def test_articles_and_verbs_agree():
    rng = np.random.default_rng(4)
    for category in CATEGORIES:
        for _ in range(200):
            words = caption(sample_spec(category, rng, "train"), rng).lower().replace(",", "").split()
            for word, after in zip(words, words[1:], strict=False):
                assert word != "an" or after[0] in "aeiou"
                assert word != "a" or after[0] not in "aeio"
                assert (word, after) not in {("is", "two"), ("is", "three"), ("is", "four"), ("are", "one")}
