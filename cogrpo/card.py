"""The model card of a candidate: for those who have its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cogrpo.policy import SchedulePolicy

CARD = """---
license: apache-2.0
---
# A masked image model and its schedule: {done} by Co-GRPO

Trained for {rounds} rounds (arm `{arm}`) from the checkpoint `{start}` of the model `{model}`, whose weights have the
hash `{start_sha256}`. Method: arXiv 2512.22288. The hash of this candidate is the sha256 of its `manifest.json`.

## Files
- `model.safetensors`: fp16 weights; the network's configuration is in the file's metadata. They speak the codes of the
  studio's tokenizer (`cogrpo/emoji/weights/tokenizer.safetensors`), without which there are no pictures.
- `schedule.json`: {schedule} Numbers of steps: {steps}. A row a step, with re-mask ratio (share of tokens that
  stay hidden), sampling temperature, re-mask temperature (of the Gumbel noise on the confidences) and guidance scale s
  in l = l_u + s (l_c - l_u). Other numbers of steps: interpolate in (t + 1) / T.
- `policy.safetensors`: the schedule policy itself, for `cogrpo.candidate.load`.
- `facts.json`: what stands below, to be read by a program.

## Rewards that acted
{acted}

## Figures
Of this candidate on the studio's validation prompts, which train nothing, under the mean schedule; the number behind a
name is the number of steps. They may have chosen it among the rounds of its run, so they flatter it a little.

{figures}

## Intended use
Pictures of the studio's small emoji world from prompts in its grammar, the study of learned schedules, and further
training. Licence: Apache-2.0.

## Limits
The model paints nothing but that world. What the rewards leave out was not taught, and what they overlook may have been
learned: let the gate compare it with the champion before it serves others (`python -m cogrpo gate`). One training seed.

## Configuration
```yaml
{config}```
"""
DONE = {"model": "the model alone trained", "schedule": "the schedule alone trained"}  # by arm
TABLE = "under `mean`, one table for each number of steps."
NO_TABLE = (
    "the policy reads the state, so the schedule is known only step by step, and no table can stand for it; under "
    "`base`, the predefined table from which it started."
)


def card(policy: SchedulePolicy, facts: Mapping[str, Any]) -> str:
    """facts: as `training.hand_over` writes them. The same facts give the same text."""
    config, origin = facts["config"], facts["origin"]
    arm = config["trainer"]["arm"]
    acted = (
        f"- {name} (version {origin['rewards'][name]}), weight {weight:g}"
        for name, weight in facts["weights"].items()
    )
    return CARD.format(
        done=DONE.get(arm, "trained together"), rounds=facts["rounds"], arm=arm, model=config["model"],
        start=config["checkpoint"], start_sha256=origin["weights"], acted="\n".join(acted),
        schedule=TABLE if policy.config.body == "table" else NO_TABLE, steps=", ".join(map(str, policy.trained)),
        figures="\n".join(f"- {name}: {value:.4f}" for name, value in facts["figures"].items()),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )  # fmt: skip
