"""Where the published files of a reward lie: in a folder that a setting names, else in the hub's cache.

Nothing is downloaded here: a run must not start with gigabytes that nobody asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from cogrpo.rewards.base import RewardError


def find(repository: str, name: str) -> Path:
    """The file `name` of a repository of the hub: FOLDER/repository/name where COGRPO_REWARD_FILES names a folder.

    Raises RewardError, which says what to download.
    """
    command = f"hf download {repository} {name}"
    if folder := os.environ.get("COGRPO_REWARD_FILES"):
        path = Path(folder) / repository / name
        command += f" --local-dir {path.parent}"
    else:
        found = try_to_load_from_cache(repository, name)
        path = Path(found) if isinstance(found, str) else Path()
    if not path.is_file():
        raise RewardError(f"reward: {name} of {repository} is not on this machine; get it with '{command}'.")
    return path
