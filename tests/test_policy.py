from functools import partial

import pytest
import torch
from mock_model import MockModel
from pydantic import ValidationError

from cogrpo import schedules
from cogrpo.decode import Step, decode
from cogrpo.exploration import Exploration
from cogrpo.grpo import ObjectiveConfig, schedule_loss
from cogrpo.policy import INSIDE, PolicyConfig, SchedulePolicy, effective
from cogrpo.replay import Rollout
from cogrpo.schedule import MOST_STEPS, Schedule, ScheduleError

BODIES = ("table", "state")
STILL = torch.zeros(4, dtype=torch.float64)
SPREAD = torch.tensor([0.4, 0.3, 0.5, 0.2], dtype=torch.float64)
PROMPTS = ["a red heart", "two dogs"]


def make(body: str = "table", steps=(4, 8), form: str = "cosine", **config) -> SchedulePolicy:
    torch.manual_seed(0)
    bases = [schedules.build(form, count) for count in steps]
    return SchedulePolicy(PolicyConfig(body=body, **config), bases, features=40)


def explore(policy: SchedulePolicy, steps, seeds, sigma, model=None, prompts=None, floor=0.0):
    """Decode one row for each seed; returns (steps, exploration, condition)."""
    model = model or MockModel()
    condition = model.condition(prompts or [PROMPTS[row % 2] for row in range(len(seeds))])
    drawn = Exploration(policy, steps, seeds, sigma, floor)
    done = list(decode(model, condition, drawn.schedules, seeds, actor=drawn.actor))
    return done, drawn, condition


def rollout(policy: SchedulePolicy, steps, seeds, sigma=SPREAD, **options) -> Rollout:
    done, drawn, condition = explore(policy, steps, seeds, sigma, **options)
    return Rollout.from_steps(done, condition, 4, drawn)


def log_prob(policy: SchedulePolicy, told: Rollout, sigma=SPREAD) -> torch.Tensor:
    mean = policy.mean(told.observations, told.step, told.steps)
    return policy.log_prob(told.actions, mean, sigma, told.step, told.steps)


def same_bits(one: list[Step], other: list[Step]) -> None:
    for a, b in zip(one, other, strict=True):
        for name in ("sampled", "kept", "hidden", "token_logprob", "confidence"):
            assert torch.equal(getattr(a, name), getattr(b, name)), (a.index, name)


@pytest.mark.parametrize("form", list(schedules.available()))
def test_an_untrained_table_is_its_base_bit_for_bit(form):
    for count in range(1, 33):
        base = schedules.build(form, count)
        policy = SchedulePolicy(PolicyConfig(), [base])
        mean = policy.mean_schedule(count).table
        # A number at a bound is held just inside of it, and r does not rise again.
        inside = (base.table > policy.low) & (base.table < policy.high)
        inside[:, 0] &= base.table[:, 0] <= 1 - INSIDE
        used = effective(SPREAD, torch.arange(count), torch.full((count,), count)) & inside
        assert torch.equal(mean[used], base.table[used])
        hides = [(table[:, 0] * 64).floor().clamp(max=63) for table in (mean, base.table)]
        assert torch.equal(*hides)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("scale", [1.0, 0.5625, 4.0])
def test_an_untrained_policy_decodes_like_its_base_bit_for_bit(body, scale):
    # linear at 4 and 8 steps leaves whole numbers of positions: the smallest error in r would show
    bases = [schedules.build("linear", count).with_guidance(scale) for count in (4, 8)]
    policy, model = SchedulePolicy(PolicyConfig(body=body), bases, features=40), MockModel()
    rows = [bases[0], bases[1], bases[0], bases[1], bases[1]]
    seeds = [3, 1, 4, 1, 5]
    done, _, condition = explore(policy, [row.steps for row in rows], seeds, STILL, model)
    same_bits(done, list(decode(model, condition, rows, seeds)))


def test_without_guidance_a_table_that_holds_the_scale_never_runs_the_second_branch():
    model = MockModel()
    bases = [schedules.build("cosine", 4).with_guidance(1)]
    policy = SchedulePolicy(PolicyConfig(), bases)
    explore(policy, [4] * 4, range(4), torch.tensor([0.3, 0.3, 0.3, 0], dtype=torch.float64), model)
    assert model.calls == [(4, False)] * 4


@pytest.mark.parametrize("body", BODIES)
def test_the_same_bits_alone_and_in_a_batch(body):
    policy = make(body)
    if body == "state":
        torch.nn.init.normal_(policy.body.layers[-1].weight, std=0.5)
    lengths, seeds = [4, 8, 8, 4, 4], [9, 8, 7, 6, 5]
    prompts = [f"prompt {row}" for row in range(5)]
    together = rollout(policy, lengths, seeds, prompts=prompts)
    for row in range(5):
        alone = rollout(policy, lengths[row : row + 1], seeds[row : row + 1], prompts=prompts[row : row + 1])
        own = together[together.row == row]
        for name in ("sampled", "kept", "schedule", "actions", "action_logprob", "token_logprob"):
            assert torch.equal(getattr(alone, name), getattr(own, name)), (row, name)


@pytest.mark.parametrize("body", BODIES)
def test_the_recorded_log_probability_is_that_of_the_recorded_action(body):
    policy = make(body)
    if body == "state":
        torch.nn.init.normal_(policy.body.layers[-1].weight, std=0.5)
    told = rollout(policy, [4, 8, 8, 4, 4], range(5))
    assert (told.observations is None) == (body == "table")
    if body == "state":
        features, first = told.observations.split(40, dim=1)
        own = {
            int(row): seen for row, step, seen in zip(told.row, told.step, features, strict=True) if step == 0
        }
        assert torch.equal(first, torch.stack([own[int(row)] for row in told.row])), (
            "the prompt, as seen at first"
        )
        assert not torch.equal(first, features)
    ratio = (log_prob(policy, told) - told.action_logprob).exp()
    assert torch.allclose(ratio, torch.ones_like(ratio), atol=1e-4)


def test_the_log_probability_is_the_gaussians_over_the_numbers_with_an_effect():
    policy = make()
    step, steps = torch.tensor([0, 3]), torch.tensor([4, 4])
    mean = policy.mean(None, step, steps).detach()
    u = mean + torch.tensor([[0.1, -0.2, 0.3, 0.4], [0.4, 0.3, -0.2, 0.1]])
    each = torch.distributions.Normal(mean, SPREAD.expand(2, 4)).log_prob(u)
    expected = [each[0].sum().item(), each[1, [1, 3]].sum().item()]
    assert policy.log_prob(u, mean, SPREAD, step, steps).tolist() == pytest.approx(expected)
    held = SPREAD * torch.tensor([1, 1, 1, 0])
    assert float(policy.log_prob(u, mean, held, step, steps)[1]) == pytest.approx(each[1, 1].item())
    other = mean + 0.5
    normal = partial(torch.distributions.Normal, scale=SPREAD.expand(2, 4))
    divergence = torch.distributions.kl_divergence(normal(mean), normal(other))
    told = policy.kl(mean, other, SPREAD, step, steps).tolist()
    assert told == pytest.approx([divergence[0].sum().item(), divergence[1, [1, 3]].sum().item()])


def test_actions_follow_their_gaussian_and_their_seed():
    policy = make()
    drawn = Exploration(policy, [4] * 2000, range(2000), SPREAD)
    mean = policy.mean(None, torch.arange(4), torch.full((4,), 4))
    deviation = (drawn.actions - mean) / SPREAD
    assert deviation.mean(dim=0).abs().max() < 0.1 and (deviation.std(dim=0) - 1).abs().max() < 0.1
    again = Exploration(policy, [8, 4], [5, 1999], SPREAD)
    assert torch.equal(again.actions[1, :4], drawn.actions[1999])
    assert not torch.equal(again.actions[0, :4], drawn.actions[4])


@pytest.mark.parametrize("sigma", [0.5, 30.0])
def test_no_draw_leaves_the_bounds(sigma):
    policy = make()
    drawn = Exploration(policy, [8] * 50, range(50), torch.full((4,), sigma, dtype=torch.float64), floor=0.1)
    table = torch.stack([schedule.table for schedule in drawn.schedules])
    low, high = torch.tensor(policy.config.low), torch.tensor(policy.config.high)
    assert (table >= low).all() and (table <= high).all()
    assert table[..., 2].min() >= 0.1


def test_the_floor_changes_the_numbers_and_not_the_action():
    base = Schedule("cold", torch.tensor([[0.5, 1, 0.0625, 1], [0.0, 1, 0, 1]]))
    policy = SchedulePolicy(PolicyConfig(), [base])
    plain, floored = (Exploration(policy, [2], [3], SPREAD, floor) for floor in (0.0, 0.1))
    assert torch.equal(plain.actions, floored.actions)
    assert torch.equal(plain.log_prob, floored.log_prob)
    assert plain.schedules[0].table[0, 2] < 0.1 == pytest.approx(floored.schedules[0].table[0, 2].item())


def test_another_number_of_steps_takes_the_curves_of_the_nearest():
    policy = make(steps=(4,))
    assert torch.equal(policy.base_schedule(8).table, schedules.build("cosine", 4).resampled(8).table)
    with torch.no_grad():
        policy.body.offsets[0][:, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    every = torch.arange(8)
    shift = (
        policy.mean(None, every, torch.full_like(every, 8))[:, 1]
        - make(steps=(4,)).mean(None, every, torch.full_like(every, 8))[:, 1]
    )
    assert shift.tolist() == pytest.approx([1, 1, 1.5, 2, 2.5, 3, 3.5, 4])
    learned = policy.mean_schedule(8)
    assert learned.interpolated and not policy.mean_schedule(4).interpolated
    for count in range(1, MOST_STEPS + 1):
        assert policy.mean_schedule(count).steps == count


def test_what_the_last_row_never_learns_is_not_carried_to_another_number_of_steps():
    policy = make(steps=(4,))
    with torch.no_grad():
        policy.body.offsets[0][:] = torch.tensor([1.0, 2.0, 3.0, 99.0])[:, None]
    every = torch.arange(8)
    shift = policy.body(None, every, torch.full_like(every, 8))
    for column in (0, 2):
        assert shift[:, column].tolist() == pytest.approx([1, 1, 1.5, 2, 2.5, 3, 3, 3])
    for column in (1, 3):
        assert shift[:, column].tolist() == pytest.approx([1, 1, 1.5, 2, 2.5, 3, 51, 99])


def test_the_mean_schedule_never_rises_and_paints_what_its_numbers_paint():
    policy = make(steps=(8,))
    with torch.no_grad():
        for offsets in policy.body.offsets:
            offsets.normal_(std=1.5)
    mean, (raw,) = policy.mean_schedule(8), explore(policy, [8], [7], STILL)[1].schedules
    assert (raw.table[:, 0].diff() > 0).any() and not (mean.table[:, 0].diff() > 0).any()
    assert torch.equal(raw.table[:, 1:], mean.table[:, 1:])
    model = MockModel()
    condition = model.condition(PROMPTS[:1])
    same_bits(*(list(decode(model, condition, [schedule], [7])) for schedule in (raw, mean)))


def test_each_trained_number_of_steps_has_its_own_table():
    policy = make(steps=(4, 8))
    with torch.no_grad():
        policy.body.offsets[0] += 1
    assert torch.equal(policy.mean_schedule(8).table, make(steps=(8,)).mean_schedule(8).table)
    assert not torch.equal(policy.mean_schedule(4).table, make(steps=(4,)).mean_schedule(4).table)
    mixed = policy.mean(None, torch.tensor([7, 0, 3, 0]), torch.tensor([8, 4, 4, 8]))
    apart = [
        policy.mean(None, torch.tensor([t]), torch.tensor([n])) for t, n in ((7, 8), (0, 4), (3, 4), (0, 8))
    ]
    assert torch.equal(mixed, torch.cat(apart))


def test_a_base_outside_the_bounds_is_refused_by_name():
    table = torch.tensor([[0.5, 1, 2, 1], [0.0, 1, 0, 1]])
    for row, column, value, name in ((0, 1, 4, "sampling_temperature"), (1, 3, 14, "guidance_scale")):
        wrong = table.clone()
        wrong[row, column] = value
        with pytest.raises(ScheduleError, match=f"^{name}: {value} in row {row + 1}.*allowed is"):
            SchedulePolicy(PolicyConfig(), [Schedule("mine", wrong)])


def test_a_base_on_a_bound_is_moved_inside_by_a_thousandth_of_the_range():
    table = torch.tensor([[1.0, 0.05, 20.0, 0.5], [0.0, 1, 0, 1]])
    moved = SchedulePolicy(PolicyConfig(), [Schedule("edge", table)]).mean_schedule(2).table[0]
    expected = [1 - INSIDE, 0.05 + INSIDE * 2.95, 20 - INSIDE * 19.95, 0.5 + INSIDE * 12.5]
    assert moved.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_policy_needs_one_base_for_each_number_of_steps():
    for bases in ([], [schedules.build("cosine", 4)] * 2):
        with pytest.raises(ScheduleError, match="^steps: "):
            SchedulePolicy(PolicyConfig(), bases)
    with pytest.raises(ValueError, match="^features: "):
        SchedulePolicy(PolicyConfig(body="state"), [schedules.build("cosine", 4)])


@pytest.mark.parametrize(
    "wrong",
    [{"low": (0, 0.05, 0.05, 13)}, {"high": (1.1, 3, 8, 13)}, {"sigma": (0.4, 0.4, 0.4, -1)}, {"widht": 3},
     {"remask_floor": 0}, {"body": "tree"}],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ValidationError):
        PolicyConfig(**wrong)


def test_sigma_falls_in_a_straight_line_and_stays():
    policy = make(sigma=(0.4, 0.4, 0.4, 0.0), sigma_end=(0.2, 0.2, 0.1, 0.0), decay_rounds=10)
    assert policy.sigma(0).tolist() == [0.4, 0.4, 0.4, 0]
    assert policy.sigma(5).tolist() == pytest.approx([0.3, 0.3, 0.25, 0])
    assert policy.sigma(10).tolist() == policy.sigma(500).tolist() == pytest.approx([0.2, 0.2, 0.1, 0])


def test_a_state_policy_has_no_table():
    with pytest.raises(ScheduleError, match="no table"):
        make("state").mean_schedule(4)


def test_a_saved_policy_is_the_same_policy():
    policy = make("state")
    torch.nn.init.normal_(policy.body.layers[-1].weight)
    other = make("state", form="linear")
    other.load_state_dict(policy.state_dict())
    told = rollout(policy, [4, 8], [0, 1])
    assert torch.equal(log_prob(other, told), log_prob(policy, told))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("sign", [1, -1])
def test_advantage_raises_or_lowers_the_log_probability_of_the_actions(body, sign):
    policy = make(body)
    told = rollout(policy, [4, 8], [0, 1], floor=0.1)
    optimiser = torch.optim.SGD(policy.parameters(), lr=0.01)
    advantage = torch.full((len(told),), float(sign))
    loss, ratios = schedule_loss(
        log_prob(policy, told), told.action_logprob, advantage, told.steps, 2, ObjectiveConfig()
    )
    assert ratios.largest == pytest.approx(1, abs=1e-6)
    loss.backward()
    optimiser.step()
    change = log_prob(policy, told) - told.action_logprob
    assert sign * change.sum() > 0


def test_each_number_learns_apart_from_those_without_effect():
    policy = make()
    told = rollout(policy, [4] * 3, range(3))
    schedule_loss(
        log_prob(policy, told), told.action_logprob, torch.tensor([1.0, -2, 0.5])[told.row], told.steps, 3,
        ObjectiveConfig(),
    )[0].backward()  # fmt: skip
    four, eight = policy.body.offsets
    moved = four.grad != 0
    assert moved[:3].all() and moved[3].tolist() == [False, True, False, True]
    assert eight.grad is None, "the table of 8 steps was not in this round"


def test_the_state_policy_learns_a_schedule_for_each_prompt():
    policy, model = make("state", steps=(4,)), MockModel()
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.02)
    untouched = {name for name, _ in policy.named_parameters()}
    for update in range(3):
        told = rollout(policy, [4] * 12, range(12 * update, 12 * update + 12), model=model)
        # One prompt is rewarded for hot sampling, the other for cold; rows alternate between them.
        wish = torch.where(told.row % 2 == 0, 1.0, -1.0)
        advantage = wish * (told.actions[:, 1] - told.actions[:, 1].mean())
        loss, _ = schedule_loss(
            log_prob(policy, told), told.action_logprob, advantage, told.steps, 12, ObjectiveConfig()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        untouched -= {name for name, p in policy.named_parameters() if (p.grad != 0).any()}
    assert not untouched, "every parameter gets a gradient"
    done, _, _ = explore(policy, [4, 4], [0, 1], STILL, model, PROMPTS)
    hot, cold = (torch.stack([step.schedule[row, 1] for step in done]) for row in (0, 1))
    assert (hot > cold + 0.02).all()
