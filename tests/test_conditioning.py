"""What the transformer is told of a prompt."""

from __future__ import annotations

from cogrpo.emoji.conditioning import LABELS, SIDES, encode_specs
from cogrpo.emoji.scene import MOST, ObjectSpec, Relation, Spec


def test_each_object_is_told_on_which_side_of_which_other_it_stands():
    """'Two dogs left of a cat, which is above a bee': no other pairing of the four reads the same."""
    spec = Spec(
        (ObjectSpec("dog", None, 2), ObjectSpec("cat"), ObjectSpec("bee")),
        (Relation(0, "left", 1), Relation(1, "above", 2)),
    )
    slots = encode_specs([spec])
    assert [LABELS[i - 1] for i in slots["label"][0].tolist()] == ["dog", "dog", "cat", "bee"]
    told = {
        (subject, SIDES[column // MOST], column % MOST)
        for subject, column in slots["side"][0].nonzero().tolist()
    }
    assert told == {
        (0, "left", 2), (1, "left", 2), (2, "right", 0), (2, "right", 1), (2, "above", 3), (3, "below", 2)
    }  # fmt: skip


def test_what_is_not_said_is_zero():
    slots = encode_specs([Spec((ObjectSpec("dog"),)), Spec((ObjectSpec("heart"),), (), "grey")])
    assert slots["label"][:, 1:].sum() == 0 and slots["side"].sum() == 0
    assert slots["background"].tolist()[0] == 0 and slots["background"].tolist()[1] > 0
    assert slots["total"].tolist() == [1, 1]
