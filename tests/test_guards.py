import pytest
import torch

from cogrpo import guards


def plain(*colour: int, count: int = 1, side: int = 32) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).expand(count, side, side, 3).clone()


def noise(count: int, seed: int = 0, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


def test_saturation_and_brightness_have_their_textbook_values():
    pictures = torch.cat([plain(255, 0, 0), plain(0, 0, 0), plain(255, 255, 255), plain(200, 100, 100)])
    assert guards.saturation(pictures).tolist() == pytest.approx([1, 0, 0, 0.5])
    assert guards.brightness(pictures).tolist() == pytest.approx([0.299, 0, 1, 129.9 / 255])


def test_edge_density_counts_both_directions_and_no_gentle_slope():
    split = plain(0, 0, 0)
    split[:, :, 16:] = 255  # one edge in each of 31 rows, of 31 x 31 places
    ramp = torch.arange(32).mul(4).to(torch.uint8)[None, None, :, None].expand(1, 32, 32, 3)
    pictures = torch.cat([plain(9, 9, 9), split, split.transpose(1, 2), ramp])
    assert guards.edge_density(pictures).tolist() == pytest.approx([0, 1 / 31, 1 / 31, 0])


def test_colour_entropy_counts_bits():
    halves = plain(0, 0, 0)
    halves[:, :16] = 255
    pictures = torch.cat([plain(10, 20, 30), halves, noise(1)])
    one, two, many = guards.colour_entropy(pictures).tolist()
    assert (one, two) == pytest.approx((0, 1)) and 8 < many <= 9


def test_token_entropy_is_of_the_whole_group():
    tokens = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    assert guards.token_entropy(plain(0, 0, 0, count=2), tokens) == pytest.approx(3)
    assert guards.token_entropy(plain(0, 0, 0, count=2), tokens * 0) == 0


def test_diversity_is_the_mean_over_pairs():
    tokens = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [2, 2, 2, 2]])
    images = noise(3)
    assert guards.diversity(images, tokens) == pytest.approx((0.5 + 1 + 1) / 3)
    assert guards.diversity(images, tokens[torch.tensor([2, 0, 1])]) == pytest.approx(2.5 / 3)
    assert guards.diversity(images[:1], tokens[:1]) == 0


def test_a_layout_is_where_things_stand_and_not_what_or_on_which_ground():
    tokens = torch.tensor([[0, 0, 0, 7], [1, 1, 1, 9], [0, 7, 0, 0], [0, 0, 0, 7]])
    assert guards.distinct_layouts(noise(4), tokens) == 0.5
    assert guards.distinct_layouts(noise(3), tokens[:3]) == pytest.approx(2 / 3)


def test_near_duplicates_are_found_under_a_little_noise_and_only_they():
    picture, other = noise(1, 1, side=64), noise(1, 2, side=64)
    little = torch.randint(-2, 3, picture.shape, generator=torch.Generator().manual_seed(3))
    almost = (picture.int() + little).clamp(0, 255).to(torch.uint8)
    tokens = torch.zeros(3, 4)
    assert guards.near_duplicates(torch.cat([picture, almost, other]), tokens) == pytest.approx(1 / 3)
    assert guards.near_duplicates(torch.cat([picture, other]), tokens[:2]) == 0
    assert guards.near_duplicates(picture, tokens[:1]) == 0


def test_a_collapsed_group_shows_in_every_group_measure():
    varied, same = noise(8), noise(1).expand(8, -1, -1, -1)
    tokens = torch.randint(0, 50, (8, 64), generator=torch.Generator().manual_seed(0))
    good, bad = guards.of_group(varied, tokens), guards.of_group(same, tokens[:1].expand(8, -1))
    assert bad["diversity"] == 0 < good["diversity"]
    assert bad["near_duplicates"] == 1 > good["near_duplicates"]
    assert bad["token_entropy"] < good["token_entropy"]
    assert bad["distinct_layouts"] == 1 / 8 < good["distinct_layouts"]


def test_measures_are_one_number_a_picture_and_the_same_alone():
    pictures = noise(3)
    for name, values in guards.of_pictures(pictures).items():
        assert values.shape == (3,), name
        assert guards.of_pictures(pictures[1:2])[name].item() == pytest.approx(values[1].item(), abs=1e-6)
