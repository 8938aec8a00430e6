"""Settings that cannot be used: one sentence that names them, and nothing is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app import port_from_settings

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("text", ["", "http", "-1", "0", "65536", "7_860", "7860.0"])
def test_a_port_that_is_none_is_a_sentence(monkeypatch, text):
    monkeypatch.setenv("PORT", text)
    with pytest.raises(
        ValueError, match="^PORT: .* is not allowed; allowed are whole numbers from 1 to 65535.$"
    ):
        port_from_settings()


def test_a_port_in_use_is_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = {
            "PORT": port,
            "STUDIO_DATA": str(tmp_path),
            "STUDIO_WORKER": "off",
            "GRADIO_SERVER_NAME": "",
        }
        done = subprocess.run(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == f"PORT: {port} on 127.0.0.1 is in use or not allowed; choose another port."
    )
    assert "Traceback" not in done.stderr
