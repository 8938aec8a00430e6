"""The app in a process of its own, for as long as a benchmark needs it, and what is asked of it."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

READY = "Co-GRPO Studio is ready: "
ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probed:
        probed.bind(("127.0.0.1", 0))
        return probed.getsockname()[1]


def ready(process: subprocess.Popen[str]) -> str:
    """The address that a starting app prints, once it is ready."""
    return next(line.split()[-1] for line in process.stdout if line.startswith(READY))


def picture(address: str) -> np.ndarray:
    """Pixels uint8 [H, W, 3]."""
    with urllib.request.urlopen(address) as told, Image.open(io.BytesIO(told.read())) as image:
        return np.array(image.convert("RGB"))


@contextmanager
def server(data: Path, **settings: str) -> Iterator[str]:
    """The address of `python app.py` on a free port, once it is ready; data: its data folder."""
    environment = {**os.environ, "PORT": str(free_port()), "STUDIO_DATA": str(data), **settings}
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE
    )
    try:
        yield ready(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
