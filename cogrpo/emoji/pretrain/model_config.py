"""What `configs/emoji/model.yaml` holds, where each number is explained."""

from __future__ import annotations

from cogrpo.config import Config


class PretrainConfig(Config):
    seed: int
    width: int
    blocks: int
    heads: int
    batch: int
    scenes: int
    decay_share: float
    warmup: int
    muon_rate: float
    adam_rate: float
    weight_decay: float
    average: float
    caption_drop: float
    all_hidden: float
    mostly_hidden: float
    by_object: float
    categories: dict[str, float]
    loose: float
    log_every: int
    save_every: int
