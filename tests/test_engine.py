import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mock_model import SHA256, MockModel, MockRegistry

from cogrpo import schedules
from cogrpo.engine import Engine, Generation, Update
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.recipe import RecipeError, Request, picture_hash, write_png
from cogrpo.registry import CheckpointError
from cogrpo.schedule import ScheduleError
from cogrpo.trace import Trace, TraceError


@pytest.fixture
def engine(tmp_path) -> Engine:
    return Engine(MockRegistry(tmp_path), precision="float32")


def finished(engine, requests) -> list[Generation]:
    return [item for item in engine.generate(requests) if isinstance(item, Generation)]


def sixteen() -> list[Request]:
    names = ("cosine", "linear", "sqrt", "autonat")
    scales = ("auto", 1, 0, 5.5)
    return [
        Request(
            f"prompt {row % 5}",
            seed=row,
            steps=2 + row % 7,
            schedule=names[row % 4],
            guidance=scales[row // 4],
        )
        for row in range(16)
    ]


def test_updates_come_for_each_step_and_then_the_pictures(engine):
    items = list(engine.generate([Request("a dog", steps=5), Request("a cat", steps=3)]))
    assert [type(item) for item in items] == [Update] * 5 + [Generation] * 2
    assert [item.step.index for item in items[:5]] == [0, 1, 2, 3, 4]
    assert [item.row for item in items[5:]] == [0, 1]
    assert items[0].images().shape == (2, 8, 8, 3) and items[0].images().dtype == np.uint8
    assert [item.trace.steps for item in items[5:]] == [5, 3]
    last = items[5]
    assert (last.image == items[4].images()[0]).all()
    assert last.trace.image_sha256 == picture_hash(last.image)
    assert last.milliseconds > 0


def test_the_recipe_says_what_was_done(engine):
    recipe = finished(engine, [Request("an unheard dog", seed=9, steps=4, guidance=3)])[0].recipe
    assert (recipe.prompt, recipe.seed, recipe.steps, recipe.schedule) == ("an unheard dog", 9, 4, "cosine")
    assert {row[3] for row in recipe.schedule_table} == {3.0} and recipe.guidance == 3
    assert (recipe.model, recipe.checkpoint, recipe.checkpoint_name) == ("emoji", "champion", "baseline")
    assert recipe.checkpoint_sha256 == SHA256
    assert recipe.unknown == ("unheard",) and not recipe.interpolated


def test_a_table_file_of_the_data_folder_is_interpolated_and_says_so(engine):
    path = engine.registry.data / "mine.json"
    path.write_text(json.dumps([[0.5, 1, 1, 2], [0, 1, 0, 2]]))
    recipe = engine.prepare(Request("a dog", steps=4, schedule=str(path)))
    assert recipe.interpolated and recipe.schedule == "mine" and len(recipe.schedule_table) == 4


def test_same_recipe_same_tokens_alone_in_a_batch_and_in_any_order(engine):
    requests = sixteen()
    together = finished(engine, requests)
    backwards = finished(engine, requests[::-1])[::-1]
    for row, request in enumerate(requests):
        alone = finished(engine, [request])[0]
        for other in (together[row], backwards[row]):
            assert other.trace.to_bytes() == alone.trace.to_bytes()
            assert (other.image == alone.image).all()


def test_replay_of_saved_files_is_identical(engine, tmp_path):
    for row, generation in enumerate(finished(engine, sixteen())):
        generation.trace.save(tmp_path / f"{row}.trace")
        (tmp_path / f"{row}.png").write_bytes(write_png(generation.image, generation.recipe))
        fresh = Engine(MockRegistry(tmp_path), precision="bfloat16", block_rows=7)  # the recipe's own count
        assert fresh.replay(tmp_path / f"{row}.trace") == "identical"
        assert fresh.replay(tmp_path / f"{row}.png") == "identical"


def test_replay_names_the_first_place_that_differs(engine, tmp_path):
    trace = finished(engine, [Request("a dog", steps=4)])[0].trace
    path = tmp_path / "a.trace"
    sampled = trace.sampled.copy()
    was = int(sampled[1, 6])
    sampled[1, 6] = sampled[2, 3] = (was + 1) % 40
    replace(trace, sampled=sampled).save(path)
    assert engine.replay(path) == f"differs: step 1, row 1, column 2: code {(was + 1) % 40}, not {was}"

    kept = trace.kept_step.copy()
    at = int((kept == 0).argmax())
    kept[at] = 3
    replace(trace, kept_step=kept).save(path)
    assert engine.replay(path).startswith(f"differs: step 0, row {at // 4}, column {at % 4}: kept at step 3")

    odd = np.where(trace.hidden_before, trace.token_logprob - np.float32(0.5), np.float32(0))
    replace(trace, token_logprob=odd).save(path)
    assert "log-probability" in engine.replay(path)

    replace(trace, schedule=trace.schedule + 1).save(path)
    assert engine.replay(path).startswith("differs: step 0, schedule")

    replace(trace, image_sha256="0" * 64).save(path)
    assert engine.replay(path) == "differs: the picture's hash"


def test_replay_of_a_png_names_the_first_pixel(engine, tmp_path):
    generation = finished(engine, [Request("a dog", steps=4)])[0]
    image = generation.image.copy()
    image[3, 5, 1] ^= 1
    (tmp_path / "a.png").write_bytes(write_png(image, generation.recipe))
    assert engine.replay(tmp_path / "a.png").startswith("differs: pixel row 3, column 5: colour [")


def test_files_that_cannot_be_replayed_are_refused(engine, tmp_path):
    generation = finished(engine, [Request("a dog", steps=4)])[0]
    told = dict(generation.trace.recipe)
    path = tmp_path / "a.trace"
    for change, error in (
        ({"sampler_version": 99}, RecipeError),
        ({"checkpoint_sha256": "f" * 64}, CheckpointError),
        ({"steps": 3}, RecipeError),
        ({"steps": 3, "schedule_table": told["schedule_table"][:3]}, TraceError),
        ({"extra": 1}, RecipeError),
    ):
        replace(generation.trace, recipe={**told, **change}).save(path)
        with pytest.raises(error):
            engine.replay(path)
    path.write_bytes(b"foreign")
    with pytest.raises(RecipeError):
        engine.replay(path)
    with pytest.raises(RecipeError):
        engine.replay(tmp_path / "missing.trace")


@pytest.mark.parametrize(
    "request_, error",
    [
        (Request("gibberish"), RecipeError), (Request("a dog", schedule="nonsense"), ScheduleError),
        (Request("a dog", schedule="learned"), ScheduleError),
        (Request("a dog", checkpoint="nobody"), CheckpointError),
        (Request("a dog", schedule="/etc/passwd.csv"), ScheduleError),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_before_any_work(engine, request_, error):
    with pytest.raises(error):
        engine.generate([Request("a cat"), request_])
    assert engine.registry.model.calls == []


def trained(form: str = "linear", body: str = "table", nudge: float = 0.0):
    """As `Registry.trained`, of a checkpoint with a policy for 4 and 8 steps."""
    torch.manual_seed(0)
    bases = [schedules.build(form, steps) for steps in (4, 8)]
    policy = SchedulePolicy(PolicyConfig(body=body, width=8), bases, features=40)
    if nudge:
        with torch.no_grad():
            policy.body.layers[-1].weight.normal_(std=nudge)
    return lambda checkpoint: SimpleNamespace(policy=policy)


def test_the_learned_schedule_is_asked_for_only_where_the_request_means_it(engine, monkeypatch):
    def damaged(checkpoint):
        raise CheckpointError("checkpoint: damaged.")

    monkeypatch.setattr(engine.registry, "trained", damaged)
    assert engine.prepare(Request("a dog", schedule="cosine")).schedule == "cosine"
    for name in ("auto", "learned"):
        with pytest.raises(CheckpointError):
            engine.prepare(Request("a dog", schedule=name))
    monkeypatch.setattr(engine.registry, "trained", trained())
    for name in ("auto", "learned"):
        recipe = engine.prepare(Request("a dog", schedule=name))
        assert recipe.schedule == "learned" and len(recipe.schedule_table) == 16


@pytest.fixture
def acting(engine, monkeypatch) -> Engine:
    """An engine whose checkpoint has a policy that reads the state, and no longer is its base."""
    monkeypatch.setattr(engine.registry, "trained", trained(body="state", nudge=2.0))
    return engine


def test_a_policy_that_reads_the_state_acts_another_schedule_for_each_prompt(acting):
    assert acting.prepare(Request("a dog", steps=4)).schedule_table == (), "known only once it was acted"
    dog, cat = finished(acting, [Request("a dog", steps=4), Request("a cat", steps=4, schedule="learned")])
    assert dog.recipe.schedule == cat.recipe.schedule == "learned"
    assert dog.recipe.schedule_table != cat.recipe.schedule_table
    for made in (dog, cat):
        assert np.array_equal(np.array(made.recipe.schedule_table, np.float32), made.trace.schedule)
        assert made.trace.recipe == made.recipe.model_dump(mode="json")


def test_an_untrained_policy_that_reads_the_state_acts_its_base(engine, monkeypatch):
    monkeypatch.setattr(engine.registry, "trained", trained("linear", "state"))
    for steps, interpolated in ((4, False), (6, True)):
        (made,) = finished(engine, [Request("a dog", steps=steps)])
        assert made.recipe.interpolated == interpolated
        base = trained("linear", "state")(None).policy.base_schedule(steps).table[:-1]
        assert torch.equal(torch.tensor(made.recipe.schedule_table)[:-1], base)


def test_guidance_that_is_asked_for_replaces_what_the_policy_acts(acting):
    free, held, off = finished(
        acting, [Request("a dog", steps=4, guidance=scale) for scale in ("auto", 3.5, 1)]
    )
    tables = [np.array(made.recipe.schedule_table) for made in (free, held, off)]
    assert (
        (tables[1][:, 3] == 3.5).all() and (tables[2][:, 3] == 1).all() and not (tables[0][:, 3] == 3.5).any()
    )
    assert (tables[0][0, :3] == tables[1][0, :3]).all(), "the first step sees the same state"


def mixed() -> list[Request]:
    """Rows whose policy acts and rows with a table, of many prompts, lengths and scales; some scales are 1."""
    return [
        Request(
            f"prompt {row}",
            seed=row,
            steps=2 + row % 4,
            schedule=("learned", "auto", "cosine")[row % 3],
            guidance=("auto", 1, 5.5)[row // 3],
        )
        for row in range(7)
    ]


def test_what_a_policy_acts_is_the_same_alone_and_in_a_batch(acting):
    requests = mixed()
    together = finished(acting, requests)
    backwards = finished(acting, requests[::-1])[::-1]
    for row, request in enumerate(requests):
        (alone,) = finished(acting, [request])
        for other in (together[row], backwards[row]):
            assert other.trace.to_bytes() == alone.trace.to_bytes()


def test_replay_of_what_a_policy_acted_needs_no_policy_and_is_identical(acting, tmp_path):
    fresh = Engine(MockRegistry(tmp_path), precision="float32")
    for generation in finished(acting, mixed()):
        (again,) = [item for item in fresh.decode([generation.recipe]) if isinstance(item, Generation)]
        assert again.trace.to_bytes() == generation.trace.to_bytes()
    generation.trace.save(tmp_path / "a.trace")
    (tmp_path / "a.png").write_bytes(write_png(generation.image, generation.recipe))
    assert fresh.replay(tmp_path / "a.trace") == fresh.replay(tmp_path / "a.png") == "identical"


def test_cancel_acts_within_one_step(engine):
    cancel = threading.Event()
    items = engine.generate([Request("a dog", steps=10)], cancel)
    assert isinstance(next(items), Update) and isinstance(next(items), Update)
    cancel.set()
    assert list(items) == []
    assert len(engine.registry.model.calls) == 2
    assert len(finished(engine, [Request("a dog", steps=3)])) == 1  # and the engine goes on


def test_two_threads_take_turns_and_do_not_disturb_each_other(engine):
    expected = {seed: finished(engine, [Request("a dog", seed)])[0].trace.to_bytes() for seed in range(4)}
    found: dict[int, bytes] = {}
    inside = threading.Semaphore(1)
    forward = engine.registry.model.forward

    def guarded(*args, **kwargs):
        assert inside.acquire(blocking=False), "two threads in the network at once"
        try:
            return forward(*args, **kwargs)
        finally:
            inside.release()

    engine.registry.model.forward = guarded

    def work(seed: int) -> None:
        found[seed] = finished(engine, [Request("a dog", seed)])[0].trace.to_bytes()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_an_abandoned_decode_blocks_nobody(engine):
    items = engine.generate([Request("a dog", steps=10)])
    next(items)
    assert len(finished(engine, [Request("a cat", steps=2)])) == 1


def test_weights_are_loaded_once(engine, monkeypatch):
    loads = []
    monkeypatch.setattr(engine.registry, "load", lambda *args: loads.append(args) or MockModel())
    finished(engine, [Request("a dog", steps=2)])
    finished(engine, [Request("a cat", steps=2)])
    assert len(loads) == 1


def test_a_trace_of_another_grid_is_refused(engine, tmp_path):
    trace = finished(engine, [Request("a dog", steps=4)])[0].trace
    replace(trace, grid=(2, 8)).save(tmp_path / "a.trace")
    with pytest.raises(TraceError, match="grid"):
        engine.replay(tmp_path / "a.trace")
    assert isinstance(Trace.load(tmp_path / "a.trace"), Trace)


def test_a_trace_whose_recipe_has_another_length_is_refused(engine, tmp_path):
    trace = finished(engine, [Request("a dog", steps=4)])[0].trace
    replace(trace, recipe={**trace.recipe, "steps": 6, "schedule_table": [[0, 1, 1, 1]] * 6}).save(
        tmp_path / "a.trace"
    )
    with pytest.raises(TraceError, match="its recipe has 6 steps and it holds 4"):
        engine.replay(tmp_path / "a.trace")


def test_a_prompt_that_nobody_can_read_any_more_is_a_sentence(engine, tmp_path, monkeypatch):
    finished(engine, [Request("a dog", steps=2)])[0].trace.save(tmp_path / "a.trace")

    def lost(model, prompt):
        raise ValueError("it names no known object.")

    monkeypatch.setattr(engine.registry, "unknown_words", lost)
    with pytest.raises(RecipeError, match="^prompt: it names no known object"):
        engine.replay(tmp_path / "a.trace")
