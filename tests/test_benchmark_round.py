"""What the benchmark of a round compares and counts, on a model with known logits."""

from __future__ import annotations

import torch
from test_trainer import Learner
from torch.nn import functional as F

from benchmarks.round import Operations, by_replay, difference, most_saved, recorded, step_by_step


def test_the_loop_without_replay_gives_the_gradient_of_replay():
    model = Learner()
    rollout = recorded(model, 3, prompts=2, group=4)
    assert difference(model, rollout, torch.linspace(-1, 1, 8)) < 1e-5
    assert difference(model, rollout, torch.linspace(-1, 1, 8).abs()) < 1e-5


def test_only_the_loop_keeps_more_the_more_steps_there_are():
    model = Learner()
    short, long = (recorded(model, steps, prompts=4, group=1) for steps in (2, 8))
    assert most_saved(by_replay, model, long) <= 1.1 * most_saved(by_replay, model, short)
    assert most_saved(step_by_step, model, long) > 1.3 * most_saved(step_by_step, model, short)


def test_operations_are_counted_forward_and_backward_and_by_group():
    weight = torch.ones(8, 8, requires_grad=True)
    with Operations() as counted:
        (torch.ones(4, 8) @ weight).sum().backward()
    assert counted.total == 2 * (2 * 4 * 8 * 8), "there is no gradient of the input"
    image, kernel = torch.ones(2, 6, 5, 5, requires_grad=True), torch.ones(6, 1, 3, 3, requires_grad=True)
    with Operations() as counted:
        F.conv2d(image, kernel, padding=1, groups=6).sum().backward()
    assert counted.total == 3 * (2 * 2 * 6 * 5 * 5 * 9)
