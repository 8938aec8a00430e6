import threading
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_model import MockModel

from cogrpo import schedules
from cogrpo.decode import Step, decode, guide, inverse_cdf, rank, still_hidden, top
from cogrpo.models.base import Condition
from cogrpo.schedule import Schedule

PROMPTS = [f"prompt {index}" for index in range(16)]
FIELDS = (
    "schedule", "sampled", "kept", "hidden", "confidence", "token_logprob", "entropy", "top_codes",
    "top_probs", "clamped",
)  # fmt: skip


def columns(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32, allow_nan=False)


ROWS = st.tuples(
    columns(0, 1), columns(0.0625, 5), columns(0, 20), columns(0, 20) | st.sampled_from([0.0, 1.0])
)
SCHEDULES = st.lists(ROWS, min_size=1, max_size=12).map(lambda rows: Schedule("any", torch.tensor(rows)))


def run(schedule_list, seeds, prompts=PROMPTS, model=None, block_rows=4) -> list[Step]:
    model = model or MockModel()
    condition = model.condition(list(prompts[: len(seeds)]))
    return list(decode(model, condition, schedule_list, seeds, block_rows))


def mixed(count: int) -> list[Schedule]:
    """Different forms, lengths and guidance: none, unconditional and some."""
    names = list(schedules.available())
    scales = (1.0, 2.5, 0.0, 7.0)
    return [
        schedules.build(names[row % 6], 1 + 5 * row % 13).with_guidance(scales[row % 4])
        for row in range(count)
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(SCHEDULES, min_size=1, max_size=6), st.integers(0, 2**32 - 10))
def test_properties_of_any_decode(schedule_list, seed):
    seeds = [seed + row for row in range(len(schedule_list))]
    steps = run(schedule_list, seeds)
    assert len(steps) == max(schedule.steps for schedule in schedule_list)
    hidden = torch.ones(len(seeds), 16, dtype=torch.bool)
    reveals = torch.zeros(len(seeds), 16)
    for step in steps:
        assert not (step.kept & ~hidden).any(), "only hidden positions are revealed"
        assert not (step.hidden & ~hidden).any(), "the mask never grows"
        assert torch.equal(hidden.sum(1) - step.kept.sum(1), step.hidden.sum(1)), "counts add up"
        working = step.active & hidden.any(1)
        assert (step.kept.sum(1)[working] >= 1).all(), "every step reveals something"
        known = ~hidden
        assert (step.token_logprob[known] == 0).all() and (step.top_probs[known] == 0).all()
        assert torch.isfinite(step.token_logprob).all() and (step.token_logprob <= 0).all()
        assert (step.entropy >= -1e-6).all()
        hidden = step.hidden
        reveals += step.kept
    assert (reveals == 1).all(), "every token is revealed exactly once"
    assert not hidden.any(), "the last step fills all"
    for before, after in pairwise(steps):
        known = ~before.hidden
        assert torch.equal(after.sampled[known], before.sampled[known]), "a known token never changes"
        assert torch.equal(after.confidence[known], before.confidence[known])


@settings(deadline=None, max_examples=40)
@given(SCHEDULES)
def test_counts_follow_the_clamped_ratio(schedule):
    masked = 16
    for index, step in enumerate(run([schedule], [5])):
        asked = int(float(schedule.table[index, 0]) * 16)
        last = index == schedule.steps - 1
        expected = 0 if last or masked <= 1 else min(max(asked, 1), masked - 1)
        assert int(step.hidden.sum()) == expected
        assert bool(step.clamped[0]) == (masked > 0 and not last and expected != asked)
        masked = expected


def test_the_same_bits_alone_in_a_batch_and_in_any_order():
    schedule_list, seeds = mixed(16), [7 * row for row in range(16)]
    together = run(schedule_list, seeds)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3)).tolist()
    shuffled = run(
        [schedule_list[row] for row in order], [seeds[row] for row in order], [PROMPTS[row] for row in order]
    )
    for row in range(16):
        alone = run([schedule_list[row]], [seeds[row]], [PROMPTS[row]])
        assert len(alone) == schedule_list[row].steps
        for index, step in enumerate(alone):
            for name in FIELDS:
                own = getattr(step, name)[0]
                assert torch.equal(own, getattr(together[index], name)[row]), (row, index, name)
                assert torch.equal(own, getattr(shuffled[index], name)[order.index(row)]), (row, index, name)


def test_the_network_always_sees_full_blocks():
    for rows in (1, 3, 4, 5):
        model = MockModel()
        run(mixed(rows), list(range(rows)), model=model)
        assert {size for size, _ in model.calls} == {4}


def test_the_second_branch_runs_only_where_a_row_wants_guidance():
    model = MockModel()
    scales = [1.0, 3.0, 1.0, 1.0, 1.0, 0.0]
    run([schedules.build("linear", 3).with_guidance(scale) for scale in scales], range(6), model=model)
    assert model.calls == [(4, True), (4, False)] * 3


def test_rows_of_one_prompt_and_length_share_their_first_pass():
    model = MockModel()
    words = model.condition(["a", "b", "c"])
    forms = [schedules.build("linear", 3 + row // 9).with_guidance(1.0 + row % 2) for row in range(18)]
    together = list(decode(model, words[[0, 1, 2] * 6], forms, range(18)))
    # 3 prompts at 2 lengths are 6 states; then 18 rows, of which 9 want guidance; at last 9 rows, of which 5 do.
    guided = [True] * 2 + ([True] * 3 + [False] * 2) * 2 + [True, True, False]
    assert model.calls == [(4, branch) for branch in guided]
    for row in (0, 3, 12):
        alone = list(decode(model, words[[row % 3]], forms[row : row + 1], [row]))
        for own, step in zip(alone, together, strict=False):
            assert torch.equal(own.sampled[0], step.sampled[row])
            assert torch.equal(own.token_logprob[0], step.token_logprob[row])


def test_a_finished_row_idles_and_leaves_the_network():
    model = MockModel()
    steps = run(
        [schedules.build("linear", 2)] * 4 + [schedules.build("linear", 5)] * 4, range(8), model=model
    )
    assert [step.active.tolist() for step in steps[2:]] == [[False] * 4 + [True] * 4] * 3
    assert len(model.calls) == 2 * 2 + 3
    assert torch.equal(steps[4].sampled[:4], steps[1].sampled[:4])
    assert not steps[3].kept[:4].any()


def test_log_probabilities_equal_a_direct_computation_on_rows_with_different_schedules():
    model, schedule_list, seeds = MockModel(), mixed(8), list(range(8))
    steps = run(schedule_list, seeds)
    words = model.condition(PROMPTS[:8]).tensors["words"]
    for row, schedule in enumerate(schedule_list):
        tokens, hidden = torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.bool)
        for index in range(schedule.steps):
            step = steps[index]
            _, tau, _, scale = schedule.table[index]
            state = (tokens.expand(4, -1), hidden.expand(4, -1))
            progress = torch.tensor([[index, schedule.steps]]).expand(4, -1)
            lc = model.logits(*state, words[row].expand(4, -1), progress)[0]
            lu = model.logits(*state, model.blank.expand(4, -1), progress)[0]
            guided = lu + scale * (lc - lu)
            codes = step.sampled[row][:, None]
            log_q = (guided / tau).log_softmax(-1).gather(1, codes)[:, 0]
            p = guided.softmax(-1)
            assert torch.allclose(step.token_logprob[row][hidden], log_q[hidden], atol=1e-4)
            assert torch.allclose(step.confidence[row][hidden], p.gather(1, codes)[:, 0][hidden], atol=1e-5)
            assert torch.allclose(step.top_probs[row][hidden], p.topk(5).values[hidden], atol=1e-5)
            if hidden.any():
                entropy = torch.distributions.Categorical(probs=p[hidden]).entropy().mean()
                assert torch.allclose(step.entropy[row], entropy, atol=1e-4)
            tokens, hidden = torch.where(step.kept[row], step.sampled[row], tokens), step.hidden[row]


def test_two_schedules_at_one_seed_share_their_noise():
    a = schedules.build("cosine", 6).with_guidance(2)
    first, second = run([a, a.with_guidance(2.001)], [11, 11], ["same", "same"])[0].sampled
    assert (first == second).float().mean() > 0.9
    other = run([a], [12], ["same"])[0].sampled[0]
    assert (first == other).float().mean() < 0.8


def test_sampling_follows_the_tempered_distribution():
    model = MockModel(vocab_size=6, sharpness=0.7)
    rows = 600
    schedule = Schedule("one", torch.tensor([[0.0, 1.7, 0.0, 1.0]]))
    step = run([schedule] * rows, range(rows), ["same"] * rows, model)[0]
    words = model.condition(["same"]).tensors["words"]
    hidden = torch.ones(1, 16, dtype=torch.bool)
    logits = model.logits(torch.zeros(1, 16, dtype=torch.int64), hidden, words, torch.tensor([[0, 1]]))[0]
    expected = (logits / 1.7).softmax(-1)
    shares = torch.nn.functional.one_hot(step.sampled, 6).float().mean(0)
    assert (shares - expected).abs().max() < 5 * (0.25 / rows) ** 0.5


def test_without_remask_noise_the_most_confident_stay():
    step = run([Schedule("cold", torch.tensor([[0.5, 1, 0, 1.0], [0, 1, 0, 1.0]]))], [0])[0]
    assert step.confidence[step.kept].min() >= step.confidence[step.hidden].max()
    assert int(step.kept.sum()) == 8


def test_ranks_are_exact_under_ties():
    score = torch.tensor([[1.0, 2.0, 2.0, -torch.inf, 2.0, 1.0]])
    assert rank(score).tolist() == [[3, 0, 1, 5, 2, 4]]


def test_equal_confidences_keep_the_exact_count():
    class Flat(MockModel):
        def logits(self, tokens, hidden, words, progress):
            return torch.zeros(len(tokens), 16, self.vocab_size)

    step = run([Schedule("cold", torch.tensor([[0.7, 1, 0, 1.0], [0, 1, 0, 1.0]]))], [0], model=Flat())[0]
    assert step.kept[0].nonzero()[:, 0].tolist() == list(range(16 - 11))


@pytest.mark.parametrize(
    "ratio, masked, last, remain, clamped",
    [
        (0.5, 64, False, 32, False), (1.0, 64, False, 63, True), (0.0, 64, False, 1, True),
        (0.9, 10, False, 9, True), (0.9, 64, True, 0, False),
        (0.5, 1, False, 0, True), (0.0, 1, False, 0, False),
        (0.5, 0, False, 0, True),
    ],
)  # fmt: skip
def test_still_hidden(ratio, masked, last, remain, clamped):
    count, flag = still_hidden(torch.tensor([ratio]), torch.tensor([masked]), torch.tensor([last]), 64)
    assert (int(count), bool(flag)) == (remain, clamped)


def test_more_steps_than_positions():
    steps = run([schedules.build("linear", 64)], [1])
    assert len(steps) == 64
    assert not steps[-1].hidden.any()
    assert sum(int(step.kept.sum()) for step in steps) == 16


def test_guide_takes_a_branch_as_it_is_at_scales_1_and_0():
    lc, lu = torch.randn(3, 4, 50), torch.randn(3, 4, 50)
    guided = guide(lc, lu, torch.tensor([1.0, 0.0, 3.0]))
    assert torch.equal(guided[0], lc[0]) and torch.equal(guided[1], lu[1])
    assert torch.allclose(guided[2], 3 * lc[2] - 2 * lu[2], atol=1e-4)
    assert guide(lc, None, torch.ones(3)) is lc


def test_inverse_cdf_never_takes_a_code_of_probability_0():
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).expand(4, -1)
    draws = torch.tensor([2.0**-24, 0.25, 0.2499, 1 - 2.0**-23])
    assert inverse_cdf(probabilities, draws).tolist() == [1, 3, 1, 3]


@pytest.mark.parametrize("codes", [3, 40, 320, 321, 2048, 2250])
def test_top_equals_a_full_sort(codes):
    logits = torch.randn(50, codes, generator=torch.Generator().manual_seed(codes))
    count = min(5, codes)
    assert torch.equal(top(logits, count), logits.topk(count).indices)


def test_cancel_stops_before_the_next_step():
    cancel, model = threading.Event(), MockModel()
    steps = decode(model, model.condition(["a"]), [schedules.build("cosine", 8)], [0], cancel=cancel)
    next(steps)
    cancel.set()
    assert list(steps) == []
    assert len(model.calls) == 1


def test_a_network_that_returns_nan_is_an_error():
    class Broken(MockModel):
        def logits(self, tokens, hidden, words, progress):
            return torch.full((len(tokens), 16, self.vocab_size), torch.nan)

    with pytest.raises(FloatingPointError):
        run([schedules.build("cosine", 2)], [0], model=Broken())


def test_numbers_of_rows_must_agree():
    model = MockModel()
    with pytest.raises(ValueError, match="do not match"):
        next(decode(model, Condition({"words": torch.zeros(2, 40)}), [schedules.build("cosine", 2)], [0]))
