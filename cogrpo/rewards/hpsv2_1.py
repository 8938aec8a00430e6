"""HPS v2.1: as HPS v2.0, trained on choices of better quality; the authors' later benchmark reports this one."""

from cogrpo.rewards.base import Reward
from cogrpo.rewards.hpsv2 import HumanPreferenceScore


def load() -> Reward:
    return HumanPreferenceScore("hpsv2_1", "HPS_v2.1_compressed.pt")
