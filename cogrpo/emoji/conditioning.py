"""What the transformer reads of a prompt: one slot an object, one for background and number.

The grammar (`cogrpo.emoji.grammar`) is the text encoder of the small world: it turns words into a `Spec`, and a spec
into these slots. Shapes: B prompts, M = 4 slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cogrpo.emoji.scene import BACKGROUND_NAMES, MOST, OPPOSITE, Spec
from cogrpo.emoji.vocabulary import CLASSES, COLOURED

# One label for each class, and one for each family in any of its colours. A noun and a colour apart would leave it to
# the network to find out which colour belongs to which noun.
LABELS = (*(emoji.name for emoji in CLASSES), *COLOURED)
SIDES = tuple(OPPOSITE)


def encode_specs(specs: Sequence[Spec]) -> dict[str, Tensor]:
    """label [B, M] int64 (0 = no object); side [B, M, 4] float: where an object stands in the relations that name it
    (left, right, above, below); background [B] int64 (0 = free); total [B] int64."""
    slots = {
        "label": torch.zeros(len(specs), MOST, dtype=torch.long),
        "side": torch.zeros(len(specs), MOST, len(SIDES)),
        "background": torch.zeros(len(specs), dtype=torch.long),
        "total": torch.zeros(len(specs), dtype=torch.long),
    }
    for row, spec in enumerate(specs):
        sides = torch.zeros(len(spec.objects), len(SIDES))
        for relation in spec.relations:
            sides[relation.subject, SIDES.index(relation.kind)] = 1
            sides[relation.object, SIDES.index(OPPOSITE[relation.kind])] = 1
        slot = 0
        for group, side in zip(spec.objects, sides, strict=True):
            filled = slice(slot, slot + group.count)
            slots["label"][row, filled] = LABELS.index(group.label) + 1
            slots["side"][row, filled] = side
            slot += group.count
        slots["background"][row] = BACKGROUND_NAMES.index(spec.background) + 1 if spec.background else 0
        slots["total"][row] = spec.total
    return slots
