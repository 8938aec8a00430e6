import itertools
from collections import Counter

import pytest

from cogrpo.emoji.grammar import parse
from cogrpo.emoji.prompts import FOLDER, PER_CATEGORY, from_line, generate, load, to_line
from cogrpo.emoji.scene import CATEGORIES, held_out


@pytest.fixture(scope="module")
def lists():
    return {split: load(split) for split in PER_CATEGORY}


def test_the_files_are_what_the_generator_makes(lists):
    for split, entries in generate().items():
        assert entries == lists[split]
        text = (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8")
        assert text == "".join(to_line(entry) + "\n" for entry in entries)


def test_counts_by_category(lists):
    assert {split: len(entries) for split, entries in lists.items()} == {
        "train": 2100,
        "validation": 350,
        "test": 350,
    }
    for split, entries in lists.items():
        assert Counter(entry.category for entry in entries) == dict.fromkeys(CATEGORIES, PER_CATEGORY[split])


def test_every_prompt_means_its_spec_and_stands_once(lists):
    entries = list(itertools.chain(*lists.values()))
    assert len({entry.prompt for entry in entries}) == len(entries)
    for entry in entries:
        parsed = parse(entry.prompt)
        assert (parsed.spec, parsed.unknown, parsed.notes) == (entry.spec, (), ())
        assert from_line(to_line(entry)) == entry


def pairs(entry):
    labels = [group.label for group in entry.spec.objects]
    return {tuple(sorted(pair)) for pair in itertools.combinations(labels, 2)}


def test_test_prompts_hold_pairs_that_no_training_prompt_holds(lists):
    trained = set().union(*(pairs(entry) for split in ("train", "validation") for entry in lists[split]))
    assert not any(held_out(*pair) for pair in trained)
    several = [entry for entry in lists["test"] if len(entry.spec.objects) > 1]
    assert len(several) >= 200
    assert all(pairs(entry) - trained for entry in several)


def test_what_each_category_asks_for(lists):
    for entry in itertools.chain(*lists.values()):
        spec = entry.spec
        counts = [group.count for group in spec.objects]
        match entry.category:
            case "single" | "colour":
                assert counts == [1] and bool(spec.objects[0].colour) == (entry.category == "colour")
            case "count":
                assert len(counts) == 1 and 2 <= counts[0] <= 4
            case "two" | "attribution":
                assert counts == [1, 1] and not spec.relations
                assert entry.category == "two" or all(group.colour for group in spec.objects)
            case "position":
                assert counts == [1, 1] and len(spec.relations) == 1
            case "dense":
                assert 3 <= sum(counts) <= 4 and spec.relations


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split: unknown 'dev'; one of train, validation, test"):
        load("dev")
