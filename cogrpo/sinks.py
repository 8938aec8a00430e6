"""Where the lines of a run go beside its own folder: nowhere else, or to trackio, a dashboard on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from cogrpo.trainer import TrainingError

SinkName = Literal["files", "trackio"]
PROJECT = "cogrpo"


@contextmanager
def opened(name: SinkName, run: str, config: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What takes each line of the run called `run`, which goes on where it was known before.

    Raises TrainingError where trackio is not installed.
    """
    if name == "files":
        yield lambda line: None
        return
    try:
        import trackio
    except ImportError:
        raise TrainingError("sink: 'trackio' is not installed; allowed without it is 'files'.") from None
    trackio.init(project=PROJECT, name=run, config=config, resume="allow")
    try:
        yield lambda line: trackio.log(line, step=line["round"])
    finally:
        trackio.finish()
