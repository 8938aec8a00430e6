"""The app in a process of its own, for as long as a benchmark needs it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probed:
        probed.bind(("127.0.0.1", 0))
        return probed.getsockname()[1]


@contextmanager
def server(data: Path, **settings: str) -> Iterator[str]:
    """The address of `python app.py` on a free port, once it is ready; data: its data folder."""
    environment = {**os.environ, "PORT": str(free_port()), "STUDIO_DATA": str(data), **settings}
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE
    )
    try:
        yield next(line.split()[-1] for line in process.stdout if line.startswith("Co-GRPO Studio"))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
