"""Configuration files: YAML into the frozen pydantic model of the component that owns them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

CONFIGS = Path(__file__).parents[1] / "configs"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file, the key and what is wrong."""


class Config(BaseModel):
    """Base of all configurations: immutable; an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=BaseModel)


def load_config(path: Path, kind: type[C]) -> C:
    """Read `path` as a `kind`. Raises ConfigError."""
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not valid YAML (not UTF-8 text).") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from None
    return validated(told, kind, str(path))


def validated(told: object, kind: type[C], source: str) -> C:
    """Plain data as a `kind`; `source` is what the message calls it. Raises ConfigError."""
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{source}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None
