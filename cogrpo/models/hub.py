"""Models whose published weights lie in a repository of the hub: where it is on this machine, and how a part is read.

Nothing here asks the network: a repository is a folder, or what `hf download` put into the hub's cache. Its parts are
the folders of diffusers' layout, each with a `config.json` and `.safetensors` files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cogrpo.config import Config
from cogrpo.device import precision_of_accelerator
from cogrpo.models.base import Adapter, ModelError

PARTS = ("scheduler", "text_encoder", "tokenizer", "transformer", "vqvae")
SUFFIXES = (".json", ".txt", ".safetensors")


class HubConfig(Config):
    """What every `configs/models/*.yaml` says."""

    repository: str  # its id on the hub, or a folder with the same files
    revision: str = "main"  # branch, tag or commit


class HubAdapter(Adapter):
    """A model of the hub; its baseline is a folder."""

    def __init__(self, name: str, config: HubConfig) -> None:
        self.name, self.config = name, config

    def baseline(self) -> Path:
        return locate(self.name, self.config)

    def precision(self, probed: str) -> str:
        return precision_of_accelerator(probed)


def locate(name: str, config: HubConfig) -> Path:
    """The folder of a model's repository: `name` in the folder COGRPO_MODELS, else the configured one, else in the
    hub's cache. Raises ModelError, which says what to download."""
    own = os.environ.get("COGRPO_MODELS")
    for folder in (*([Path(own) / name] if own else []), Path(config.repository)):
        if folder.is_dir():
            return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(config.repository, revision=config.revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        command = f"hf download {config.repository} --revision {config.revision}"
        raise ModelError(
            f"checkpoint: the weights of {name} are not on this machine; run '{command}', or name in COGRPO_MODELS "
            f"a folder that holds the same files under {name}."
        ) from error


def identity(folder: Path) -> str:
    """sha256 over the names and hashes of the files of all parts: the same for a folder and for the hub's cache."""
    lines = [
        f"{path.relative_to(folder)} {_sha256(path)}" for part in PARTS for path in _files(folder / part)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def part(folder: Path, build: Callable[[dict[str, Any]], nn.Module], filled: bool = True) -> nn.Module:
    """A part of a repository, in float32, for inference: `build` makes it from its configuration.

    Without `filled` its tensors have shapes only, for a caller who has others. Raises ModelError."""
    from accelerate import init_empty_weights

    config = read_json(folder / "config.json")
    with init_empty_weights(include_buffers=False):
        module = build(config)
    if filled:
        fill(module, tensors(folder), folder.name)
    return module.eval().requires_grad_(False)


def fill(module: nn.Module, told: Mapping[str, Tensor], source: str) -> None:
    """Give a module its tensors, as float32. Raises ModelError, with the key, where one is missing, foreign or of
    another shape; `source` is what the message calls them."""
    own = module.state_dict()
    # Old text encoders carry the numbers 0, 1, 2 ... of their positions.
    foreign = sorted(name for name in told.keys() - own.keys() if not name.endswith(".position_ids"))
    for verb, names in (("lacks", sorted(own.keys() - told.keys())), ("has a foreign", foreign)):
        if names:
            raise ModelError(f"checkpoint: {source} {verb} tensor {names[0]!r}.")
    for name, tensor in own.items():
        if told[name].shape != tensor.shape:
            shapes = f"{list(told[name].shape)}, not {list(tensor.shape)}"
            raise ModelError(f"checkpoint: the tensor {name!r} of {source} has the shape {shapes}.")
    module.load_state_dict({name: told[name].float() for name in own}, assign=True)


def tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a part, from one file or many. Raises ModelError."""
    told: dict[str, Tensor] = {}
    for path in _files(folder):
        if path.suffix == ".safetensors":
            try:
                told |= load_file(path)
            except (SafetensorError, OSError) as error:
                raise ModelError(f"checkpoint: {folder.name}/{path.name} is damaged ({error}).") from error
    if not told:
        raise ModelError(f"checkpoint: {folder.name} has no .safetensors file; download it again.")
    return told


def read_json(path: Path) -> dict[str, Any]:
    """Raises ModelError."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"checkpoint: {path.parent.name}/{path.name} is missing or damaged.") from error


def _files(folder: Path) -> Iterator[Path]:
    """The files of a part in order, without its variants (`model.fp16.safetensors`) and shard lists."""
    for path in sorted(folder.glob("*")):
        if path.suffix in SUFFIXES and path.name.count(".") == 1:
            yield path


def _sha256(path: Path) -> str:
    """Of the file's bytes. The hub's cache knows those of large files: their blobs have them as names."""
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", real.name):
        return real.name
    told = real.stat()
    return _digest(real, told.st_mtime_ns, told.st_size)


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
