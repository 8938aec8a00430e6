"""Device, precision and threads: probed once at start, and recorded in every recipe."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch

SETTING = "COGRPO_PRECISION"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class PrecisionError(ValueError):
    """A precision that does not exist; the message is one sentence."""


@dataclass(frozen=True)
class Precision:
    """What the network runs in, why, and how fast matrices are multiplied here."""

    name: str  # 'float32' or 'bfloat16'
    reason: str
    threads: int
    gflops: Mapping[str, float]  # of a 512 x 512 product, by precision


@lru_cache(maxsize=1)
def probe() -> Precision:
    """Choose the precision. Raises PrecisionError where the setting COGRPO_PRECISION names none.

    The choice follows the hardware's flags, not the stop-watch: a busy moment must not change the pictures
    of a seed.
    """
    asked = os.environ.get(SETTING, "")
    if asked and asked not in DTYPES:
        raise PrecisionError(f"{SETTING}: {asked!r} is not allowed; allowed are {' and '.join(DTYPES)}.")
    native = hardware_bfloat16()
    name = asked or ("bfloat16" if native else "float32")
    reason = f"set by {SETTING}" if asked else f"the processor has {'' if native else 'no '}bfloat16 products"
    rates = {name: matmul_gflops(dtype) for name, dtype in DTYPES.items()}
    return Precision(name, reason, torch.get_num_threads(), rates)


def accelerator() -> torch.device:
    """Where a network of the hub runs: the first GPU, else the processor. The processor serves the embedded model."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision_of_accelerator(probed: str) -> str:
    """bfloat16 on a GPU that multiplies it itself, else float32; on the processor what was `probed`. The setting
    COGRPO_PRECISION stands above both."""
    if accelerator().type == "cpu" or os.environ.get(SETTING):
        return probed
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def hardware_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; elsewhere that is emulated, and slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(flag)) for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def matmul_gflops(dtype: torch.dtype, size: int = 512, repeats: int = 5) -> float:
    """The best rate of a few square products, in 1e9 operations a second, at this moment."""
    a = torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return round(2 * size**3 / min(seconds) / 1e9, 1)
