"""Published weights under our library's names: each tensor is asked for by the name that it was published under.

A tensor that is missing, of another shape or left over is an error with its name. The packages that published these
files load them with less care: one of them passes over what does not fit, and scores with random numbers.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cogrpo.rewards.base import RewardError


@dataclass(frozen=True)
class Origin:
    """Where a parameter was published.

    third: which third of the rows it is (0 query, 1 key, 2 value), where one tensor holds all three.
    transposed: whether it was published as [in, out].
    """

    key: str
    third: int | None = None
    transposed: bool = False

    def shape(self, of: torch.Size) -> tuple[int, ...]:
        """The shape of the published tensor of a parameter that has the shape `of`."""
        rows = tuple(reversed(of)) if self.transposed else tuple(of)
        return rows if self.third is None else (3 * rows[0], *rows[1:])

    def take(self, published: Tensor) -> Tensor:
        part = published if self.third is None else published.chunk(3)[self.third]
        return (part.T if self.transposed else part).float().contiguous()


class PublishedWeights:
    """The tensors of a file of `torch.save`, mapped from the disk; `inside`: the entry that holds them.

    Raises RewardError where the file holds anything but tensors and plain containers: no code of a file is run.
    """

    def __init__(self, path: Path, inside: str | None = None) -> None:
        self.name = path.name
        try:
            told = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise RewardError(f"reward: {self.name} is damaged, or holds more than tensors.") from error
        tensors = told.get(inside) if inside is not None and isinstance(told, dict) else told
        if not isinstance(tensors, dict):
            raise RewardError(f"reward: {self.name} holds no {inside or 'table of tensors'}.")
        self._left: dict[str, object] = dict(tensors)

    def fill(self, network: nn.Module, origin: Callable[[str], Origin]) -> None:
        """Put weights into a network that was made on the device `meta`; origin: parameter's name -> where it was
        published. Raises RewardError with the published name of what is missing or has another shape."""
        filled = {}
        used = set()
        for name, parameter in network.state_dict().items():
            told = origin(name)
            filled[name] = told.take(self._get(told.key, told.shape(parameter.shape)))
            used.add(told.key)
        network.load_state_dict(filled, assign=True)
        for key in used:
            del self._left[key]
        for module in network.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_meta:  # position numbers: the one thing that is in no file
                    setattr(module, name, torch.arange(buffer.shape[-1]).expand(1, -1))

    def close(self, unused: Collection[str]) -> None:
        """Raises RewardError where a tensor was asked for by nobody; unused: those that do not act in the score."""
        extra = [key for key in self._left if key not in unused]
        if extra:
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise RewardError(f"reward: {self.name} holds {extra[0]}{more}, which the network does not have.")
        self._left.clear()

    def _get(self, key: str, shape: tuple[int, ...]) -> Tensor:
        if key not in self._left:
            raise RewardError(f"reward: {self.name} does not hold {key}.")
        tensor = self._left[key]
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise RewardError(f"reward: {key} in {self.name} is no tensor of real numbers.")
        if tuple(tensor.shape) != shape:
            told, allowed = (" x ".join(map(str, each)) or "1" for each in (tensor.shape, shape))
            raise RewardError(f"reward: {key} in {self.name} is {told}; allowed is {allowed}.")
        return tensor
