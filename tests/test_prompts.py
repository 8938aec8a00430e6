import itertools
import json
from collections import Counter

import pytest

from cogrpo.emoji.grammar import parse
from cogrpo.emoji.prompts import FOLDER, PER_CATEGORY, PromptListError, from_line, generate, load, to_line
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
    with pytest.raises(PromptListError) as caught:
        load("dev")
    told = "prompts: 'dev' is unknown; allowed are train, validation, test and a .jsonl file."
    assert str(caught.value) == told


def test_a_list_of_ones_own_is_read(tmp_path, lists):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(to_line(entry) + "\n" for entry in lists["train"][::300]))
    assert load(str(path)) == lists["train"][::300]


GOOD = {
    "category": "single",
    "prompt": "a dog",
    "spec": {
        "objects": [{"noun": "dog", "colour": None, "count": 1}],
        "relations": [],
        "background": None,
    },
}


def spec(**changes) -> dict:
    return {**GOOD, "spec": {**GOOD["spec"], **changes}}


@pytest.mark.parametrize(
    "line, said",
    [
        ("a dog", "this is no JSON"),
        ("", "this is no JSON"),
        ([1], "the line: "),
        ({name: GOOD[name] for name in ("category", "spec")}, "prompt: field required"),
        (spec(objects=[{"colour": None}]), "spec.objects.0.noun: field required"),
        (spec(objects=[{"noun": "zebra", "colour": None, "count": 1}]), "the noun 'zebra' is unknown"),
        (spec(objects=[{"noun": "heart", "colour": "pink", "count": 1}]), "there is no heart of the colour 'pink'"),
        (spec(objects=[{"noun": "dog", "colour": None, "count": 2}]), "spec is not what the grammar reads"),
        (spec(background="mauve"), "spec is not what the grammar reads"),
        (spec(relations=[{"subject": 0, "kind": "beside", "object": 1}]), "spec.relations.0.kind: "),
        ({**GOOD, "prompt": "a zebra"}, "prompt: "),
        ("\udcff", "is not UTF-8 text"),
    ],
    ids=str,
)  # fmt: skip
def test_a_line_whose_truth_does_not_fit_is_one_sentence_with_its_number(tmp_path, line, said):
    path = tmp_path / "mine.jsonl"
    text = line if isinstance(line, str) else json.dumps(line)
    path.write_text(f"{json.dumps(GOOD)}\n{text}\n", encoding="utf-8", errors="surrogateescape")
    with pytest.raises(PromptListError) as caught:
        load(str(path))
    told = str(caught.value)
    assert said in told and told.startswith("prompts: ") and told.endswith(".") and "\n" not in told
    assert "line 2 of " in told or "UTF-8" in told


def test_a_list_that_is_missing_or_empty_is_one_sentence(tmp_path):
    with pytest.raises(PromptListError, match=r"^prompts: .*none.jsonl cannot be read \(No such file.*\)\.$"):
        load(str(tmp_path / "none.jsonl"))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(PromptListError, match="holds none"):
        load(str(tmp_path / "empty.jsonl"))
