"""The prompt lists of the embedded world, each line with its machine-readable truth.

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
from pydantic import TypeAdapter, ValidationError

from cogrpo.emoji.captions import caption
from cogrpo.emoji.grammar import PromptError, parse
from cogrpo.emoji.scene import CATEGORIES, Spec, sample_spec
from cogrpo.emoji.vocabulary import FAMILIES

FOLDER = Path(__file__).parents[2] / "configs" / "prompts" / "emoji"
Split = Literal["train", "validation", "test"]
PER_CATEGORY: dict[Split, int] = {"train": 300, "validation": 50, "test": 50}
SEED = 9


class PromptListError(ValueError):
    """A prompt list that cannot be used; the message is one sentence with the line's number."""


@dataclass(frozen=True)
class PromptEntry:
    category: str
    prompt: str
    spec: Spec


_ENTRY = TypeAdapter(PromptEntry)


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
    """Raises ValueError, worded to stand behind the line's number, where the line is no entry or its truth is not what
    the grammar reads."""
    try:
        entry = _ENTRY.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise ValueError("this is no JSON") from None
        field = ".".join(map(str, first["loc"])) or "the line"
        raise ValueError(f"{field}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    for group in entry.spec.objects:
        if group.noun not in FAMILIES:
            raise ValueError(f"the noun {group.noun!r} is unknown")
        if group.colour is not None and group.colour not in FAMILIES[group.noun]:
            raise ValueError(f"there is no {group.noun} of the colour {group.colour!r}")
    try:
        read = parse(entry.prompt).spec
    except PromptError as error:
        raise ValueError(f"prompt: {str(error).rstrip('.')}") from None
    if read != entry.spec:
        raise ValueError("spec is not what the grammar reads from the prompt")
    return entry


def load(asked: str) -> list[PromptEntry]:
    """A committed list by its split, or a .jsonl file in the same format. Raises PromptListError."""
    if asked not in PER_CATEGORY and not asked.endswith(".jsonl"):
        allowed = f"{', '.join(PER_CATEGORY)} and a .jsonl file"
        raise PromptListError(f"prompts: {asked!r} is unknown; allowed are {allowed}.")
    path = FOLDER / f"{asked}.jsonl" if asked in PER_CATEGORY else Path(asked)
    entries = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                entries.append(from_line(line))
    except OSError as error:
        raise PromptListError(f"prompts: {path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise PromptListError(f"prompts: {path} is not UTF-8 text.") from None
    except ValueError as error:
        raise PromptListError(f"prompts: line {len(entries) + 1} of {path}: {error}.") from None
    if not entries:
        raise PromptListError(f"prompts: {path} holds none.")
    return entries


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for split, entries in generate().items():
        path = FOLDER / f"{split}.jsonl"
        path.write_text("".join(to_line(entry) + "\n" for entry in entries), encoding="utf-8")
        print(f"{path}: {len(entries)} prompts")


if __name__ == "__main__":
    main()
