import pytest
import torch
from mock_model import MockModel

from cogrpo import replay as module
from cogrpo import schedules
from cogrpo.decode import Step, decode
from cogrpo.grpo import ObjectiveConfig, model_loss
from cogrpo.replay import Rollout, log_probs, recorded_log_probs, replay
from cogrpo.schedule import Schedule
from cogrpo.trace import Trace

LIKELIHOODS = ("fill", "exact")
SCALES = {"off": (1.0,), "on": (3.0,), "mixed": (1.0, 2.5, 0.0)}


class Learner(MockModel):
    """The mock model with parameters."""

    def __init__(self, **options):
        super().__init__(**options)
        self.parameters = [t.requires_grad_() for t in (self.own, self.inward, self.outward, self.blank)]


def tables(count: int, scales=(1.0, 2.5, 0.0), lengths=(4, 8, 1)) -> list[Schedule]:
    """Different lengths, guidance and sampling temperatures; a re-mask temperature that is never 0."""
    made = []
    for row in range(count):
        table = schedules.build("cosine", lengths[row % len(lengths)]).table.clone()
        table[:, 1], table[:, 3] = (1.0, 0.7, 1.6)[row % 3], scales[row % len(scales)]
        made.append(Schedule("mixed", table))
    return made


def run(model: MockModel, schedule_list, block_rows: int = 4) -> tuple[list[Step], Rollout]:
    condition = model.condition([f"prompt {row // 2}" for row in range(len(schedule_list))])
    steps = list(decode(model, condition, schedule_list, range(len(schedule_list)), block_rows))
    return steps, Rollout.from_steps(steps, condition, block_rows)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("blocks", [1, 3, 100])
@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
def test_at_unchanged_weights_every_ratio_is_1(scales, blocks, likelihood):
    model = Learner()
    _, rollout = run(model, tables(10, scales))
    seen = 0
    for chunk in replay(model, rollout, likelihood, blocks):
        assert torch.equal(chunk.new.scored, chunk.old.scored)
        assert torch.equal(chunk.new.tokens, chunk.old.tokens), "not only to 1e-4: bit for bit"
        if likelihood == "exact":
            assert torch.equal(chunk.new.kept_set, chunk.old.kept_set)
            assert (chunk.new.kept_set <= 1e-6).all()
        assert chunk.new.tokens.requires_grad
        seen += len(chunk.recorded)
    assert seen == len(rollout) == 4 * 4 + 3 * 8 + 3


def test_the_network_is_called_in_the_rows_of_the_decode():
    model = Learner()
    _, rollout = run(model, tables(6, (1.0, 3.0), lengths=(4,)))
    model.calls.clear()
    for _ in replay(model, rollout, blocks=2):
        pass
    # 3 first states and 9 decisions of 3 rows with guidance come first, then 9 without
    assert model.calls == [(4, True)] * 3 + [(4, False)] * 3


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_first_steps_of_a_prompt_share_their_pass_and_the_gradient_is_the_same(monkeypatch, likelihood):
    told = []
    for shared in (True, False):
        if not shared:
            own = lambda rollout: (torch.arange(len(rollout)),) * 2  # noqa: E731 (each decision a state of its own)
            monkeypatch.setattr(module, "_states", own)
        model = Learner()
        condition = model.condition(["a", "b"]).repeat(8)
        forms = tables(16, lengths=(3,))
        rollout = Rollout.from_steps(list(decode(model, condition, forms, range(16))), condition, 4)
        model.calls.clear()
        new = log_probs(model, rollout, likelihood)
        (new.tokens * torch.linspace(-1, 1, len(rollout))[:, None]).sum().backward()
        told.append((new.tokens, [each.grad for each in model.parameters], len(model.calls)))
    (tokens, gradients, calls), (apart, each, more) = told
    assert torch.equal(tokens, apart)
    for one, other in zip(gradients, each, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    # `exact` scores all hidden positions, so its calls are as full as without.
    assert more == 12 and (calls < 12 if likelihood == "fill" else calls == 12)


def test_a_large_group_does_not_score_more_positions_in_one_call_than_a_small_one():
    model = MockModel()
    condition = model.condition(["a"]).repeat(32)
    steps = list(decode(model, condition, tables(32, lengths=(2,)), range(32)))
    for chunk in replay(model, Rollout.from_steps(steps, condition, 4), "exact"):
        assert chunk.new.scored.sum() <= 4 * 16


def test_a_decision_holds_the_state_that_the_network_saw():
    model = MockModel()
    steps, rollout = run(model, tables(4))
    for row, count in enumerate((4, 8, 1, 4)):
        own = rollout[rollout.row == row]
        assert own.step.tolist() == list(range(count))
        assert own.hidden[0].all() and (own.steps == count).all()
        for index in range(1, count):
            assert torch.equal(own.hidden[index], steps[index - 1].hidden[row])
            known = ~own.hidden[index]
            assert torch.equal(own.tokens[index][known], steps[-1].sampled[row][known])
    assert (rollout.kept <= rollout.hidden).all()


def test_fill_scores_what_stays_and_exact_all_that_was_sampled():
    model = MockModel()
    _, rollout = run(model, tables(4))
    fill, exact = (log_probs(model, rollout, likelihood) for likelihood in LIKELIHOODS)
    assert torch.equal(fill.scored, rollout.kept) and fill.kept_set is None
    assert torch.equal(exact.scored, rollout.hidden)
    assert (fill.tokens[~fill.scored] == 0).all()
    last = rollout.step == rollout.steps - 1
    assert (exact.kept_set[last] == 0).all() and (exact.kept_set[~last] < 0).all()


def test_a_decision_does_not_depend_on_its_chunk():
    model = MockModel()
    _, rollout = run(model, tables(6))
    whole = log_probs(model, rollout, "exact")
    for index in (0, 7, 20):
        alone = log_probs(model, rollout[torch.tensor([index])], "exact")
        assert torch.equal(alone.tokens[0], whole.tokens[index])
        # P(K) sums over as many columns as the chunk's largest set has, so its last bits may differ.
        assert torch.allclose(alone.kept_set[0], whole.kept_set[index], rtol=1e-6)


def test_saved_traces_give_the_same_rollout():
    model = MockModel()
    schedule_list = tables(5)
    steps, rollout = run(model, schedule_list)
    traces = [Trace.of(steps, row, {}, model.grid, model.vocab_size, "0" * 64) for row in range(5)]
    saved = [Trace.from_bytes(trace.to_bytes()) for trace in traces]
    again = Rollout.from_traces(saved, rollout.condition, 4, model)
    order = rollout.row.argsort(stable=True)  # a trace tells one row after another
    for name in ("row", "step", "steps", "hidden", "kept", "sampled", "schedule", "token_logprob", "entropy",
                 "log_confidence"):  # fmt: skip
        assert torch.equal(getattr(again, name), getattr(rollout[order], name)), name
    known = ~again.hidden
    assert torch.equal(again.tokens[known], rollout[order].tokens[known])
    for chunk in replay(model, again, "exact", 3):
        assert torch.equal(chunk.new.tokens, chunk.old.tokens)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_advantage_raises_or_lowers_the_log_probability_of_the_decode(likelihood, sign):
    model, config = Learner(), ObjectiveConfig(likelihood=likelihood)
    _, rollout = run(model, tables(3))
    optimiser = torch.optim.SGD(model.parameters, lr=0.05)
    for chunk in replay(model, rollout, likelihood, blocks=1):
        told = chunk.recorded
        advantage = torch.full((len(told),), float(sign))
        loss, _ = model_loss(chunk.new, chunk.old, advantage, told.steps, 3, config)
        loss.backward()
    optimiser.step()
    with torch.no_grad():
        after, before = log_probs(model, rollout, likelihood), recorded_log_probs(rollout, likelihood)
    assert sign * float(after.tokens.sum() - before.tokens.sum()) > 0.01


def test_chunks_of_any_size_give_one_gradient():
    gradients = []
    for blocks in (1, 3, 100):
        model = Learner()
        _, rollout = run(model, tables(4))
        advantage = torch.linspace(-1, 1, 4)
        for chunk in replay(model, rollout, "exact", blocks):
            told = chunk.recorded
            config = ObjectiveConfig(likelihood="exact")
            model_loss(chunk.new, chunk.old, advantage[told.row], told.steps, 4, config)[0].backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters]))
    for other in gradients[1:]:
        assert torch.allclose(gradients[0], other, atol=1e-6)
    assert gradients[0].abs().max() > 1e-3


def test_memory_does_not_grow_with_the_number_of_steps():
    def most_saved(steps: int) -> int:
        """The most bytes that autograd keeps for one chunk."""
        model = Learner()
        _, rollout = run(model, tables(4, lengths=(steps,)))
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            most = 0
            for chunk in replay(model, rollout, "fill", blocks=1):
                chunk.new.tokens.sum().backward()
                most, sizes[:] = max(most, sum(sizes)), []
        return most

    assert most_saved(12) <= most_saved(3)


def test_the_reference_has_no_gradient_and_starts_equal():
    model = Learner()
    _, rollout = run(model, tables(3))
    for chunk in replay(model, rollout, "exact", 2, reference=model):
        assert not chunk.reference.tokens.requires_grad
        assert torch.equal(chunk.reference.tokens, chunk.new.tokens)


@pytest.mark.parametrize(
    "rows, kept",
    [
        ([[0.0, 1, 0, 1]], [16]),  # T = 1
        ([[1.0, 1, 2, 1]] * 3, [1, 1, 14]),  # r at its upper bound: one token a step
        ([[0.0, 1, 2, 1]] * 3, [15, 1]),  # and at its lower: all but one in the first step
        ([[0.9, 1, 2, 1]] * 24, [2] + 14 * [1]),  # more steps than positions
    ],
)
def test_edges(rows, kept):
    class Flat(Learner):
        """All confidences are equal: ties everywhere."""

        def logits(self, tokens, hidden, words, progress):
            return super().logits(tokens, hidden, words, progress) * 0

    for model in (Learner(), Flat()):
        _, rollout = run(model, [Schedule("edge", torch.tensor(rows))])
        assert rollout.kept.sum(dim=1).tolist() == kept, "no decision without a token"
        for chunk in replay(model, rollout, "exact", 2):
            assert torch.isfinite(chunk.new.kept_set).all()
            assert torch.equal(chunk.new.tokens, chunk.old.tokens)


def test_exact_needs_a_random_set():
    model = MockModel()
    _, rollout = run(model, [Schedule("cold", torch.tensor([[0.5, 1, 0, 1], [0.0, 1, 0, 1]]))])
    with pytest.raises(ValueError, match="^remask_temperature"):
        next(replay(model, rollout, "exact"))
    assert len(list(replay(model, rollout, "fill"))) == 1


def test_an_unfinished_decode_is_no_rollout():
    model = MockModel()
    condition = model.condition(["a"])
    first = next(decode(model, condition, [schedules.build("cosine", 4)], [0]))
    with pytest.raises(ValueError, match="not finished"):
        Rollout.from_steps([first], condition, 4)


def test_no_decisions_no_chunks():
    model = MockModel()
    _, rollout = run(model, tables(2))
    assert list(replay(model, rollout[torch.zeros(len(rollout), dtype=torch.bool)])) == []
