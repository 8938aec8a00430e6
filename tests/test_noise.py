import torch
from hypothesis import given
from hypothesis import strategies as st

from cogrpo import noise

SEEDS = st.integers(0, noise.MOST_SEED)


@given(st.lists(SEEDS, min_size=1, max_size=5), st.integers(0, 63))
def test_a_row_does_not_depend_on_its_batch(seeds, step):
    together = noise.uniform(seeds, step, noise.SAMPLE, 16)
    alone = torch.cat([noise.uniform([seed], step, noise.SAMPLE, 16) for seed in seeds])
    assert torch.equal(together, alone)


def test_a_position_does_not_depend_on_how_many_there_are():
    assert torch.equal(noise.gumbel([3], 5, noise.REMASK, 1000)[:, :7], noise.gumbel([3], 5, noise.REMASK, 7))


def test_seed_step_and_purpose_all_change_the_draw():
    base = noise.uniform([1], 1, noise.SAMPLE, 64)
    others = [
        noise.uniform([2], 1, noise.SAMPLE, 64),
        noise.uniform([1], 2, noise.SAMPLE, 64),
        noise.uniform([1], 1, noise.REMASK, 64),
    ]
    assert all((base != other).float().mean() > 0.95 for other in others)


def test_steps_do_not_overlap():
    long = noise.uniform([9], 0, noise.SAMPLE, 100_000)
    assert torch.isin(noise.uniform([9], 1, noise.SAMPLE, 1000), long).float().mean() < 0.1


def test_uniform_is_open_and_uniform():
    draw = noise.uniform([noise.MOST_SEED], 63, noise.SAMPLE, 200_000)
    assert draw.dtype == torch.float32
    assert draw.min() > 0 and draw.max() < 1
    shares = torch.histc(draw, 20, 0, 1) / draw.numel()
    assert (shares - 0.05).abs().max() < 0.003


def test_gumbel_has_its_mean_and_variance():
    draw = noise.gumbel([0], 0, noise.REMASK, 200_000)
    assert torch.isfinite(draw).all()
    assert abs(draw.mean() - 0.5772) < 0.01
    assert abs(draw.var() - torch.pi**2 / 6) < 0.03


def test_draws_are_the_published_ones():
    # Philox 4x64, key (7, 0), counter (0, 2, 0, 0): a change here breaks every saved recipe.
    assert noise.uniform([7], 2, noise.SAMPLE, 3)[0].tolist() == [
        0.6524323225021362,
        0.19964942336082458,
        0.6179692149162292,
    ]
