"""The models, and how one is found by name.

Each module of this folder, beside its machinery, is a model: its function `adapter(name)` returns a `base.Adapter`, and
its name is the model's. Where there are files `configs/models/<module>-<size>.yaml` or `configs/models/<module>.yaml`,
their names are the models' instead, and the module serves them all. A module is imported when its model is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil

from cogrpo.config import CONFIGS
from cogrpo.models.base import Adapter, ModelError

FOLDER = CONFIGS / "models"
MACHINERY = ("base", "clip_vq", "hub")


def available() -> list[str]:
    """The names of all models, whether or not their weights are here."""
    configured = [path.stem for path in FOLDER.glob("*.yaml")]
    sized = {_module(name) for name in configured}
    return sorted({*configured, *(name for name in _modules() if name not in sized)})


def adapter(name: str) -> Adapter:
    """The model `name`. Raises ModelError where there is none."""
    if name not in available():
        raise ModelError(f"checkpoint: {name!r} is no model; allowed are {', '.join(available())}.")
    return importlib.import_module(f"{__name__}.{_module(name)}").adapter(name)


def _module(name: str) -> str:
    return name.partition("-")[0]


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name not in MACHINERY]
