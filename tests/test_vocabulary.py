import itertools
import unicodedata

from cogrpo.emoji.vocabulary import BACKGROUNDS, CLASSES, COLOURED, COLOURS, FAMILIES, PLAIN


def test_there_are_134_classes_with_names_of_their_own():
    assert [emoji.index for emoji in CLASSES] == list(range(134))
    assert len({emoji.name for emoji in CLASSES}) == len({emoji.emoji for emoji in CLASSES}) == 134


def test_every_class_is_one_named_character_with_a_plural():
    for emoji in CLASSES:
        assert len(emoji.emoji) == 1 and unicodedata.name(emoji.emoji)
        assert emoji.noun == emoji.noun.strip().lower() and emoji.plural


def test_families_hold_every_class_once():
    indices = sorted(itertools.chain(*(family.values() for family in FAMILIES.values())))
    assert indices == list(range(134))
    for emoji in CLASSES:
        assert FAMILIES[emoji.noun][emoji.colour] == emoji.index


def test_a_noun_has_either_one_look_or_named_colours():
    assert not set(PLAIN) & set(COLOURED) and set(PLAIN) | set(COLOURED) == set(FAMILIES)
    for noun in COLOURED:
        assert len(FAMILIES[noun]) > 1 and set(FAMILIES[noun]) <= set(COLOURS)
    for noun in PLAIN:
        assert set(FAMILIES[noun]) == {""}


def test_backgrounds_are_nine_and_far_apart():
    assert len(BACKGROUNDS) == 9
    for a, b in itertools.combinations(BACKGROUNDS.values(), 2):
        assert max(abs(x - y) for x, y in zip(a, b, strict=True)) > 20
