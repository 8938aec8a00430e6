"""Addresses of what is kept: `files/<sha256>.<kind>`, and the blind pictures of a pair."""

from __future__ import annotations

import io

from PIL import Image
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from db import arena
from db.arena import ArenaError
from db.session import StoreError
from ui.arena import SIDES
from ui.records import Records

TYPES = {"png": "image/png", "gif": "image/gif"}
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}  # a hash never means other bytes
PRIVATE = {"Cache-Control": "private, no-store"}


def routes(records: Records) -> list[Route]:
    """For the app; each answers in a thread of its own."""

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            data = records.file(name)
        except StoreError as error:
            return PlainTextResponse(str(error), 503)
        if data is None:
            return PlainTextResponse("files: nothing is kept under this name.", 404)
        kind = TYPES.get(name.rsplit(".", 1)[-1], "application/octet-stream")
        return Response(data, media_type=kind, headers=FOR_EVER)

    def side(request: Request) -> Response:
        name = request.path_params["side"]
        if name not in SIDES:
            return PlainTextResponse(f"pairs: allowed are {' and '.join(SIDES)}.", 404)
        try:
            with records.reading() as session:
                shown = arena.shown_with(session, request.path_params["token"])
                picture = shown.items[SIDES.index(name)].generation.image_sha256
            data = records.store.artifacts.get(picture)
        except ArenaError as error:
            return PlainTextResponse(str(error), 404)
        except StoreError as error:
            return PlainTextResponse(str(error), 503)
        return Response(bare(data), media_type="image/png", headers=PRIVATE)

    return [Route("/files/{name}", file), Route("/pairs/{token}/{side}.png", side)]


def bare(png: bytes) -> bytes:
    """The pixels alone: the kept file carries its recipe, and its hash would lead to it."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        pixels = Image.frombytes(picture.mode, picture.size, picture.convert(picture.mode).tobytes())
    out = io.BytesIO()
    pixels.save(out, "PNG")
    return out.getvalue()
