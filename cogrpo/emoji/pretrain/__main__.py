"""`python -m cogrpo.emoji.pretrain PART`: trains the tokenizer, a detector, the dual encoder or the model."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from cogrpo.config import CONFIGS, load_config
from cogrpo.models.emoji import WEIGHTS

parser = argparse.ArgumentParser(
    prog="python -m cogrpo.emoji.pretrain", description="Train the embedded world."
)
parser.add_argument("part", choices=("tokenizer", "detector_a", "detector_b", "dual_encoder", "model"))
parser.add_argument("--config", type=Path, help="default: configs/emoji/PART.yaml")
parser.add_argument("--out", type=Path, help="default: cogrpo/emoji/weights/PART.safetensors")
parser.add_argument("--folder", type=Path, help="where a run keeps its state and log (default: runs/PART)")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
asked = parser.parse_args()
torch.set_num_threads(asked.threads)
config_path = asked.config or CONFIGS / "emoji" / f"{asked.part}.yaml"
out = asked.out or WEIGHTS / f"{asked.part}.safetensors"
folder = asked.folder or Path("runs") / asked.part
match asked.part:
    case "tokenizer":
        from cogrpo.emoji.pretrain import tokenizer

        tokenizer.train(load_config(config_path, tokenizer.TokenizerConfig), out, folder)
    case "detector_a" | "detector_b":
        from cogrpo.emoji.pretrain import detector

        config = load_config(config_path, detector.DetectorConfig)
        detector.train(asked.part[-1], config, out, folder, asked.precision)
    case "dual_encoder":
        from cogrpo.emoji.pretrain import dual_encoder

        config = load_config(config_path, dual_encoder.DualEncoderConfig)
        dual_encoder.train(config, out, folder, asked.precision)
    case "model":
        from cogrpo.emoji.pretrain import model
        from cogrpo.emoji.pretrain.model_config import PretrainConfig

        model.train(load_config(config_path, PretrainConfig), out, folder, asked.precision)
