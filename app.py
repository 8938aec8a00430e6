"""Serves the studio: `python app.py`. What a Space runs.

Reads GRADIO_SERVER_NAME (host), PORT (7860), STUDIO_DATA (./data), STUDIO_KEEP (2), STUDIO_PAIR_HOURS (24), SPACE_ID
(set by a Space), for the store DATABASE_URL and STUDIO_ARTIFACTS, and for the loop STUDIO_WORKER (embedded),
STUDIO_ROUNDS (configs/rounds/demo.yaml) and STUDIO_ADMIN_TOKEN.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

# Before gradio is imported, so that nothing leaves this machine.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from cogrpo import __version__
from cogrpo.registry import Registry
from ui import files
from ui.generation import Generations
from ui.loop import Loop
from ui.pairs import Pairs
from ui.records import Records
from ui.studio import HEAD, STATIC, build
from ui.theme import StudioTheme


def port_from_settings() -> int:
    """PORT, 7860 unless set. Raises ValueError, in one sentence."""
    text = os.environ.get("PORT", "7860")
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise ValueError(f"PORT: {text!r} is not allowed; allowed are whole numbers from 1 to 65535.")
    return int(text)


def main() -> None:
    started = time.monotonic()
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1")
    data = Path(os.environ.get("STUDIO_DATA", "data")).resolve()
    try:
        port = port_from_settings()
        generations = Generations(Records.open(data), Registry(data))
        pairs = Pairs(generations.engine, generations.records)
        loop = Loop(generations, data)
    except ValueError as error:  # a setting that cannot be used
        raise SystemExit(str(error)) from None

    def healthz(_: Request) -> JSONResponse:
        uptime = round(time.monotonic() - started, 1)
        return JSONResponse({"version": __version__, **generations.health(), "uptime": uptime})

    routes = [
        Mount("/studio", StaticFiles(directory=STATIC)),
        *files.routes(generations.records),
        Route("/healthz", healthz),
    ]
    studio = build(generations, pairs, loop)
    try:
        studio.launch(
            server_name=host, server_port=port, theme=StudioTheme(), head=HEAD, mcp_server=True, ssr_mode=False,
            app_kwargs={"routes": routes}, footer_links=[], quiet=True, prevent_thread_lock=True, share=False,
        )  # fmt: skip
    except OSError:  # Gradio's own words name a setting that is not ours
        raise SystemExit(f"PORT: {port} on {host} is in use or not allowed; choose another port.") from None
    print(f"Co-GRPO Studio is ready: http://{host}:{port}", flush=True)
    threading.Thread(target=generations.warm, daemon=True).start()
    loop.start()
    try:
        studio.block_thread()
    finally:
        loop.stop()


if __name__ == "__main__":
    main()
