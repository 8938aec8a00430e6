"""Our decode of aMUSEd against diffusers' AmusedPipeline, on the same module objects.

`python -m benchmarks.amused` prints one JSON line a measurement. Both sides encode the same four prompts and draw
tokens in 12 steps at guidance 8, up to the tokens (`output_type="latent"`): at least seven pairs after a warm-up, in
turn, median ratio with a 95 % bootstrap interval. Weights are random: the network has hidden size 256 and 6 layers, all
else as published (8,192 codes, 16 x 16 tokens); the text encoder has 2 layers of the published 12, so that it does not
hide the rest.
"""

from __future__ import annotations

import string
import time
from collections.abc import Callable

import numpy as np
import torch
from diffusers import AmusedPipeline, AmusedScheduler, UVit2DModel, VQModel
from diffusers.utils import logging
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from benchmarks.decode import compared, seconds, show, show_machine
from cogrpo import schedules
from cogrpo.decode import decode
from cogrpo.device import DTYPES
from cogrpo.models.amused import AmusedModel
from cogrpo.models.clip_vq import ClipVqConfig

STEPS, GUIDANCE, PAIRS = 12, 8.0, 9
PROMPTS = ("a dog", "two cats", "a red heart and a blue square", "a tree on a black background")
MASK = 8255


def build(precision: str) -> tuple[AmusedModel, AmusedPipeline]:
    torch.manual_seed(0)
    network = UVit2DModel(hidden_size=256, num_hidden_layers=6, sample_size=16).eval()
    words = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: number for number, word in enumerate(words)}, [], model_max_length=77)
    text = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=768, intermediate_size=3072, num_attention_heads=12,
            num_hidden_layers=2, projection_dim=768, eos_token_id=len(words) - 1,
        )
    ).eval()  # fmt: skip
    pixels = VQModel(  # of the published factor 16; neither side decodes pixels
        block_out_channels=(8,) * 5, down_block_types=("DownEncoderBlock2D",) * 5, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 5, num_vq_embeddings=8192, lookup_from_codebook=True,
    ).eval()  # fmt: skip
    model = AmusedModel(network, pixels, text, tokenizer, MASK, ClipVqConfig(repository="none"), precision)
    pipeline = AmusedPipeline(pixels, tokenizer, text, network, AmusedScheduler(mask_token_id=MASK))
    pipeline.set_progress_bar_config(disable=True)
    return model, pipeline


class Stopwatch:
    """Seconds that are spent inside functions."""

    def __init__(self) -> None:
        self.total = 0.0

    def around(self, function: Callable) -> Callable:
        def timed(*inputs, **options):
            start = time.perf_counter()
            told = function(*inputs, **options)
            self.total += time.perf_counter() - start
            return told

        return timed


def measure(precision: str) -> None:
    model, pipeline = build(precision)
    table = schedules.build("meissonic", STEPS, "amused-256").with_guidance(GUIDANCE)
    rows = len(PROMPTS)

    def ours() -> None:
        for _ in decode(model, model.condition(list(PROMPTS)), [table] * rows, list(range(rows))):
            pass

    def theirs() -> None:
        pipeline(list(PROMPTS), num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="latent")

    if precision != "float32":  # theirs runs its text encoder in the network's precision, ours does not
        theirs = _in_one_precision(theirs, model.text, precision)
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(PAIRS)]
    told = {
        f"{side}_ms": 1e3 * float(np.median(spent))
        for side, spent in zip(("ours", "theirs"), zip(*pairs, strict=True), strict=True)
    }
    show("amused / pipeline", precision=precision, rows=rows, steps=STEPS, **told, **compared(pairs))
    show("amused, where the time goes", precision=precision, **_shares(model, pipeline, ours, theirs))


def _in_one_precision(run: Callable[[], None], text: nn.Module, precision: str) -> Callable[[], None]:
    def converted() -> None:
        text.to(DTYPES[precision])
        run()
        text.to(torch.float32)

    return converted


def _shares(
    model: AmusedModel, pipeline: AmusedPipeline, ours: Callable[[], None], theirs: Callable[[], None]
) -> dict[str, float]:
    """Milliseconds of one run of each side: text, network, and the rest, which is the sampler."""
    told = {}
    for side, run, network in (("ours", ours, model), ("theirs", theirs, pipeline.transformer)):
        text, body = Stopwatch(), Stopwatch()
        kept = model.text.forward, network.forward
        model.text.forward, network.forward = text.around(kept[0]), body.around(kept[1])
        whole = seconds(run)
        model.text.forward, network.forward = kept
        told |= {f"{side}_text_ms": 1e3 * text.total, f"{side}_network_ms": 1e3 * body.total}
        told[f"{side}_rest_ms"] = 1e3 * (whole - text.total - body.total)
    return told


def main() -> None:
    logging.set_verbosity_error()  # that the pipeline is deprecated is known
    show_machine()
    for precision in DTYPES:
        measure(precision)


if __name__ == "__main__":
    main()
