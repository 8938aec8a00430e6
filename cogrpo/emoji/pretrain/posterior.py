"""What the hidden tokens of a scene can be: the exact answer that the transformer is taught.

The world is small enough to enumerate. Given a caption and some revealed tokens, every layout, class and background
that agrees with them is known, and each is as likely as the generator makes it. Their mixture replaces the one scene
that happened to be drawn as the target: the same gradient on average (MaskGIT's cross-entropy, arXiv 2202.04200),
without the noise of the draw, and it stays right where the choice of the revealed tokens depends on the scene, as it
does when a sampler reveals what it is surest of.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from cogrpo.emoji.scene import BACKGROUND_NAMES, GRID, SIZE, Spec, layouts_of

CORNERS = np.array(list(itertools.product(range(GRID - SIZE + 1), repeat=2)))  # [K = 25, 2] of (row, column)
ALONG = GRID - SIZE + 1
# The 16 positions that an object at each corner covers, in reading order, [K, 16].
COVERED = (
    (CORNERS[:, 0, None, None] + np.arange(SIZE)[:, None]) * GRID
    + CORNERS[:, 1, None, None]
    + np.arange(SIZE)
).reshape(len(CORNERS), -1)
COVERS = np.zeros((len(CORNERS), GRID * GRID))
np.put_along_axis(COVERS, COVERED, 1.0, axis=1)


@dataclass(frozen=True)
class Mixture:
    """Probabilities of codes at hidden positions; what a (position, code) has in several entries adds up."""

    positions: np.ndarray  # [E] int64
    codes: np.ndarray  # [E] int64
    weights: np.ndarray  # [E] float64, one in all at each hidden position


def choices(spec: Spec) -> tuple[np.ndarray, list[np.ndarray]]:
    """What a caption leaves open: backgrounds [b], and the classes [c] of each object, in the order of the slots."""
    names = BACKGROUND_NAMES
    backgrounds = range(len(names)) if spec.background is None else [names.index(spec.background)]
    return np.array(backgrounds), [
        np.array(group.classes) for group in spec.objects for _ in range(group.count)
    ]


def posterior(spec: Spec, tokens: np.ndarray, hidden: np.ndarray, table: np.ndarray) -> Mixture:
    """p(code | caption, revealed tokens) at each hidden position.

    tokens [64] int64, of a scene that `place` drew for `spec`; hidden [64] bool; table [9, classes, 4, 4] as of
    `code_table`. Raises ValueError where no scene of the caption holds the revealed tokens.
    """
    backgrounds, classes = choices(spec)
    revealed = ~hidden
    agrees = [_agrees(table[backgrounds][:, each], tokens, revealed) for each in classes]  # n times [b, c, K]
    corners = layouts_of(tuple(group.count for group in spec.objects), spec.relations) @ (ALONG, 1)  # [L, n]

    foreign = revealed & (tokens != backgrounds[:, None])  # [b, 64]: only an object can explain this token
    likelihood = (foreign[:, COVERED].sum(-1)[:, corners].sum(-1) == foreign.sum(-1)[:, None]).astype(
        float
    )  # [b, L]
    for corner, agree in zip(corners.T, agrees, strict=True):
        likelihood *= agree.mean(1)[:, corner]
    if not likelihood.any():
        raise ValueError("No scene of this caption holds the revealed tokens.")
    likelihood /= likelihood.sum()

    ground = np.repeat(likelihood.sum(1)[:, None], GRID * GRID, axis=1)  # [b, 64]: mass that no object covers
    entries = []
    for corner, agree, each in zip(corners.T, agrees, classes, strict=True):
        standing = likelihood @ (corner[:, None] == np.arange(len(CORNERS)))  # [b, K]
        ground -= standing @ COVERS
        share = standing[:, None] * agree / np.maximum(agree.sum(1, keepdims=True), 1)  # [b, c, K]
        b, c, k = share.nonzero()
        codes = table[backgrounds[b], each[c]]  # [E, 4, 4]
        entries.append((COVERED[k].ravel(), codes.ravel(), share[b, c, k].repeat(SIZE * SIZE)))
    b, position = (ground > 1e-9).nonzero()
    entries.append((position, backgrounds[b], ground[b, position]))
    positions, codes, weights = (np.concatenate(part) for part in zip(*entries, strict=True))
    return Mixture(*(part[hidden[positions]] for part in (positions, codes, weights)))


def _agrees(patches: np.ndarray, tokens: np.ndarray, revealed: np.ndarray) -> np.ndarray:
    """Whether an object of each class at each corner holds the tokens revealed there. patches [b, c, 4, 4] of codes;
    tokens, revealed [64]; returns bool [b, c, K]."""
    patches = patches.reshape(*patches.shape[:2], 1, SIZE * SIZE)
    return ((patches == tokens[COVERED]) | ~revealed[COVERED]).all(-1)
