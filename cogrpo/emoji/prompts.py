"""The frozen prompt lists of the embedded world, each line with its machine-readable truth.

`python -m cogrpo.emoji.prompts` writes configs/prompts/emoji/{train,validation,test}.jsonl, always the same
bytes. No prompt stands twice, in one list or in two. Test specs of several groups hold a pair that no
training caption holds. Of the test and validation prompts a third use templates that no training caption
uses.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from cogrpo.emoji.captions import caption
from cogrpo.emoji.scene import CATEGORIES, ObjectSpec, Relation, Spec, sample_spec

FOLDER = Path(__file__).parents[2] / "configs" / "prompts" / "emoji"
Split = Literal["train", "validation", "test"]
PER_CATEGORY: dict[Split, int] = {"train": 300, "validation": 50, "test": 50}
SEED = 9


@dataclass(frozen=True)
class PromptEntry:
    category: str
    prompt: str
    spec: Spec


def generate() -> dict[Split, list[PromptEntry]]:
    """All three lists. The small ones come first, so that the training list gives way where two coincide."""
    prompts: set[str] = set()
    return {split: _list(split, prompts) for split in ("test", "validation", "train")}


def _list(split: Split, prompts: set[str]) -> list[PromptEntry]:
    """Adds to `prompts`, the prompts used so far."""
    rng = np.random.default_rng((SEED, get_args(Split).index(split)))
    entries = []
    for category in CATEGORIES:
        wanted = len(entries) + PER_CATEGORY[split]
        while len(entries) < wanted:
            spec = sample_spec(category, rng, split)
            unseen = split != "train" and len(entries) % 3 == 0
            prompt = caption(spec, rng, "test" if unseen else "train")
            if prompt not in prompts:  # captions differ; there are fewer colour specs than training captions
                prompts.add(prompt)
                entries.append(PromptEntry(category, prompt, spec))
    return entries


def to_line(entry: PromptEntry) -> str:
    return json.dumps(asdict(entry), ensure_ascii=False)


def from_line(line: str) -> PromptEntry:
    row = json.loads(line)
    spec = row["spec"]
    objects = tuple(ObjectSpec(**group) for group in spec["objects"])
    relations = tuple(Relation(**relation) for relation in spec["relations"])
    return PromptEntry(row["category"], row["prompt"], Spec(objects, relations, spec["background"]))


def load(split: Split) -> list[PromptEntry]:
    """The committed list. Raises ValueError where the split is none of train, validation, test."""
    if split not in PER_CATEGORY:
        raise ValueError(f"split: unknown {split!r}; one of {', '.join(PER_CATEGORY)}")
    with (FOLDER / f"{split}.jsonl").open(encoding="utf-8") as file:
        return [from_line(line) for line in file]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for split, entries in generate().items():
        path = FOLDER / f"{split}.jsonl"
        path.write_text("".join(to_line(entry) + "\n" for entry in entries), encoding="utf-8")
        print(f"{path}: {len(entries)} prompts")


if __name__ == "__main__":
    main()
