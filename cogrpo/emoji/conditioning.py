"""What the transformer reads of a prompt: one slot an object, one for background and number.

The grammar (`cogrpo.emoji.grammar`) is the text encoder of the small world: it turns words into a `Spec`, and a spec
into these slots. Shapes: B prompts, M = 4 slots.
"""

from __future__ import annotations

import itertools
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
    """label [B, M] int64 (0 = no object); side [B, M, 4 M] float: on which side of which slot an object stands, by the
    relations that name it (left, right, above, below, each of slot 1 to M); background [B] int64 (0 = free); total [B]
    int64."""
    slots = {
        "label": torch.zeros(len(specs), MOST, dtype=torch.long),
        "side": torch.zeros(len(specs), MOST, len(SIDES) * MOST),
        "background": torch.zeros(len(specs), dtype=torch.long),
        "total": torch.zeros(len(specs), dtype=torch.long),
    }
    for row, spec in enumerate(specs):
        slots_of, filled = [], 0
        for group in spec.objects:
            slots_of.append(range(filled, filled + group.count))
            slots["label"][row, slots_of[-1]] = LABELS.index(group.label) + 1
            filled += group.count
        for relation in spec.relations:
            for kind, here, there in (
                (relation.kind, relation.subject, relation.object),
                (OPPOSITE[relation.kind], relation.object, relation.subject),
            ):
                for slot, other in itertools.product(slots_of[here], slots_of[there]):
                    slots["side"][row, slot, SIDES.index(kind) * MOST + other] = 1
        slots["background"][row] = BACKGROUND_NAMES.index(spec.background) + 1 if spec.background else 0
        slots["total"][row] = spec.total
    return slots
