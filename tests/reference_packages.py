"""The packages `image-reward` and `hpsv2` as installed, made to run beside today's transformers and without the hub.

They were written for older libraries; docs/rewards.md says what each remedy is for. Not one of them touches arithmetic
but `_inverted`, which the library no longer has.
"""

import importlib
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import torch
import transformers
from transformers import BertTokenizer, modeling_utils, pytorch_utils
from transformers.models.bert.tokenization_bert import load_vocab

BPE = "bpe_simple_vocab_16e6.txt.gz"


def image_reward(vocabulary: Path) -> ModuleType:
    """The package ImageReward, whose tokenizer reads its words from `vocabulary`, not from the hub."""
    sys.modules["clip"] = ModuleType("clip")  # two scores of the package that are not asked here import it
    for name in ("apply_chunking_to_forward", "prune_linear_layer"):
        setattr(modeling_utils, name, getattr(pytorch_utils, name, _gone))
    modeling_utils.find_pruneable_heads_and_indices = _gone
    if "transformers.file_utils" not in sys.modules:
        told = ModuleType("transformers.file_utils")
        told.ModelOutput = transformers.utils.ModelOutput
        sys.modules[told.__name__] = told
    package = importlib.import_module("ImageReward")
    bert = importlib.import_module("ImageReward.models.BLIP.med").BertPreTrainedModel
    bert.all_tied_weights_keys = {}
    bert.get_head_mask = lambda self, mask, layers: [None] * layers
    bert.invert_attention_mask = _inverted

    def tokenizer() -> BertTokenizer:
        made = BertTokenizer(load_vocab(vocabulary))
        made.add_special_tokens({"bos_token": "[DEC]"})
        made.add_tokens(["[ENC]"], special_tokens=True)
        return made

    importlib.import_module("ImageReward.models.BLIP.blip_pretrain").init_tokenizer = tokenizer
    return package


def hpsv2(wheel: Path) -> ModuleType:
    """The module hpsv2.img_score with the network made and nothing downloaded.

    wheel: of open_clip_torch, from which the file of byte pairs comes that hpsv2's own wheel lacks.
    """
    folder = Path(importlib.import_module("hpsv2").__file__).parent / "src" / "open_clip"
    (folder / BPE).write_bytes(zipfile.ZipFile(wheel).read(f"open_clip/{BPE}"))
    scoring = importlib.import_module("hpsv2.img_score")
    clip = importlib.import_module("hpsv2.src.open_clip")
    network, _, prepare = clip.create_model_and_transforms(
        "ViT-H-14", None, precision="amp", device="cpu", light_augmentation=True, aug_cfg={}, output_dict=True,
        with_score_predictor=False, with_region_predictor=False,
    )  # fmt: skip
    scoring.model_dict |= {"model": network, "preprocess_val": prepare}
    return scoring


def _inverted(self: torch.nn.Module, mask: torch.Tensor) -> torch.Tensor:
    """1 -> 0 and 0 -> the lowest number, to be added to attention scores."""
    return (1 - mask[:, None, None].to(self.dtype)) * torch.finfo(self.dtype).min


def _gone(*told: object) -> None:
    raise NotImplementedError("heads are not pruned here")
