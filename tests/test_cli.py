import csv
import io
import json
from types import SimpleNamespace

import pytest
from mock_model import MockRegistry

from cogrpo import schedules
from cogrpo.cli import HEADINGS, main
from cogrpo.engine import Engine
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.recipe import read_png
from cogrpo.trace import Trace


class MockJudge:
    def score_prompts(self, images, prompts):
        return [SimpleNamespace(strict=prompt == "a dog", soft=len(prompt) / 10) for prompt in prompts]


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs one command with the mock model; gives exit code, lines of output, and the error text."""
    monkeypatch.chdir(tmp_path)
    engine = Engine(MockRegistry(tmp_path), precision="float32")

    def call(*argv: str) -> tuple[int, list[str], str]:
        code = main(argv, engine, MockJudge())
        told = capsys.readouterr()
        return code, told.out.splitlines(), told.err

    return call


def test_sample_writes_pictures_and_traces_and_one_line_each(run, tmp_path):
    code, lines, _ = run("sample", "a dog", "unseen cat", "--n", "2", "--seed", "5", "--steps", "4")
    assert code == 0
    told = [json.loads(line) for line in lines]
    assert [(line["prompt"], line["seed"]) for line in told] == [
        ("a dog", 5), ("a dog", 6), ("unseen cat", 5), ("unseen cat", 6),
    ]  # fmt: skip
    assert list(told[0]) == [
        "prompt", "seed", "steps", "schedule", "guidance", "checkpoint",
        "image", "trace", "verifier", "unknown",
    ]  # fmt: skip
    assert [line["image"] for line in told] == [f"samples/000{row}.png" for row in range(4)]
    assert told[0]["verifier"] == {"strict": True, "soft": 0.5}
    assert (told[0]["checkpoint"], told[0]["schedule"], told[0]["guidance"]) == ("baseline", "cosine", "auto")
    assert told[2]["unknown"] == ["unseen"]
    for line in told:
        _, recipe = read_png((tmp_path / line["image"]).read_bytes())
        trace = Trace.load(tmp_path / line["trace"])
        assert recipe.seed == line["seed"] and dict(trace.recipe) == recipe.model_dump(mode="json")
    assert len(list((tmp_path / "samples").iterdir())) == 8


@pytest.mark.parametrize("body", ["table", "state"])
def test_a_learned_schedule_is_sampled_with_and_replayed(run, tmp_path, monkeypatch, body):
    policy = SchedulePolicy(PolicyConfig(body=body), [schedules.build("linear", 3)], features=40)
    monkeypatch.setattr(MockRegistry, "trained", lambda registry, checkpoint: SimpleNamespace(policy=policy))
    for name in ("learned", "auto"):
        code, lines, _ = run("sample", "a dog", "a cat", "--steps", "3", "--schedule", name)
        assert code == 0 and {json.loads(line)["schedule"] for line in lines} == {"learned"}
        _, recipe = read_png((tmp_path / "samples" / "0000.png").read_bytes())
        assert recipe.schedule_table[0] == tuple(schedules.build("linear", 3).table[0].tolist())
        assert run("replay", "samples/0000.trace")[1] == run("replay", "samples/0001.png")[1] == ["identical"]
    assert run("inspect", "samples/0000.trace")[0] == 0


def test_learned_is_refused_where_the_checkpoint_has_no_policy(run, tmp_path):
    code, lines, error = run("sample", "a dog", "--schedule", "learned")
    assert (code, lines) == (2, []) and error.startswith("error: schedule: 'learned' is not allowed")
    assert not (tmp_path / "samples").exists()


def test_the_batch_size_changes_nothing(run, tmp_path):
    for out, batch in (("a", "1"), ("b", "3"), ("c", "16")):
        assert (
            run("sample", "a dog", "a cat", "--n", "4", "--steps", "3", "--batch", batch, "--out", out)[0]
            == 0
        )
    for name in [path.name for path in (tmp_path / "a").iterdir()]:
        assert len({(tmp_path / out / name).read_bytes() for out in "abc"}) == 1


def test_a_refused_prompt_gives_a_line_and_does_not_stop_the_others(run, tmp_path):
    code, lines, _ = run("sample", "a dog", "", "gibberish", "x" * 10_000, "a\x07b", "a cat", "--steps", "2")
    told = [json.loads(line) for line in lines]
    assert code == 1
    assert ["error" in line for line in told] == [False, True, True, True, True, False]
    assert all(line["error"].startswith("prompt: ") and line["error"].endswith(".") for line in told[1:5])
    assert told[2] == {"prompt": "gibberish", "error": "prompt: No object of this prompt is known."}
    assert len(list((tmp_path / "samples").iterdir())) == 4


@pytest.mark.parametrize(
    "flag, value, field, allowed",
    [
        ("--steps", "0", "steps", "1 to 64"), ("--steps", "65", "steps", "1 to 64"),
        ("--steps", "text", "steps", "1 to 64"), ("--seed", "-1", "seed", "0 to 4294967295"),
        ("--seed", str(2**63), "seed", "0 to 4294967295"), ("--guidance", "nan", "guidance", "0 to 20"),
        ("--guidance", "inf", "guidance", "0 to 20"), ("--guidance", "21", "guidance", "0 to 20"),
        ("--schedule", "nonsense", "schedule", "cosine"), ("--schedule", "learned", "schedule", "no policy"),
        ("--schedule", "missing.json", "schedule", "1 to 64"),
        ("--schedule", "../../etc/passwd", "schedule", "cosine"),
        ("--checkpoint", "nobody", "checkpoint", "baseline"), ("--batch", "0", "batch", "1 to 256"),
        ("--n", "0", "n", "1 to 10000"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_one_sentence_and_writes_nothing(run, tmp_path, flag, value, field, allowed):
    code, lines, error = run("sample", "a dog", f"{flag}={value}")
    assert (code, lines) == (2, [])
    assert error.startswith(f"error: {field}: ") and allowed in error
    assert error.endswith(".\n") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "table, field",
    [
        ("[[0.5, 1, 1]]", "schedule"), ("[[0.5, 1, 1, 1], [0.6, 1, 1, 1]]", "remask_ratio"),
        ("[[0.5, 1, 1, Infinity]]", "guidance_scale"), ("[[0.5, 9, 1, 1]]", "sampling_temperature"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_sentence(run, tmp_path, table, field):
    (tmp_path / "mine.json").write_text(table)
    code, lines, error = run("sample", "a dog", "--schedule", "mine.json")
    assert (code, lines) == (2, []) and error.startswith(f"error: {field}: ") and error.count("\n") == 1


def test_the_last_seed_is_the_largest(run):
    assert run("sample", "a dog", "--seed", "4294967295", "--steps", "1")[0] == 0
    assert run("sample", "a dog", "--seed", "4294967295", "--n", "2")[0] == 2


def test_inspect_prints_recipe_and_steps(run):
    run("sample", "a dog", "--steps", "4")
    code, lines, _ = run("inspect", "samples/0000.trace")
    assert code == 0
    assert "prompt: a dog" in lines and "checkpoint_name: baseline" in lines
    assert run("inspect", "samples/0000.png")[0] == 0


def test_inspect_csv_is_the_table(run):
    run("sample", "a dog", "--steps", "4")
    for name in ("0000.trace", "0000.png"):
        _, lines, _ = run("inspect", f"samples/{name}", "--csv")
        rows = list(csv.reader(io.StringIO("\n".join(lines))))
        assert tuple(rows[0]) == HEADINGS and [row[0] for row in rows[1:]] == ["0", "1", "2", "3"]
    _, lines, _ = run("inspect", "samples/0000.trace", "--csv")
    rows = list(csv.DictReader(lines))
    assert sum(int(row["decoded"]) for row in rows) == 16 and rows[-1]["hidden"] == "0"


def test_replay_is_identical_or_names_the_place(run, tmp_path):
    run("sample", "a dog", "--steps", "4")
    assert run("replay", "samples/0000.trace")[:2] == (0, ["identical"])
    assert run("replay", "samples/0000.png")[:2] == (0, ["identical"])
    from dataclasses import replace

    trace = Trace.load(tmp_path / "samples/0000.trace")
    sampled = trace.sampled.copy()
    sampled[2, 5] = (sampled[2, 5] + 1) % 40
    replace(trace, sampled=sampled).save(tmp_path / "forged.trace")
    code, lines, _ = run("replay", "forged.trace")
    assert code == 1 and lines[0].startswith("differs: step 2, row 1, column 1: code ")


@pytest.mark.parametrize("command", ["inspect", "replay"])
def test_bad_files_are_one_sentence(run, tmp_path, command):
    run("sample", "a dog", "--steps", "4")
    for name in ("0000.png", "0000.trace"):
        data = (tmp_path / "samples" / name).read_bytes()
        for bad in (data[: len(data) // 2], data[:100] + b"x" + data[101:], b"foreign", b""):
            (tmp_path / name).write_bytes(bad)
            code, lines, error = run(command, name)
            assert (code, lines) == (2, [])
            assert error.startswith("error: ") and error.endswith(".\n") and error.count("\n") == 1
    assert run(command, "missing.png")[0] == 2
