import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from cogrpo.recipe import CHUNK, SEAL, Recipe, RecipeError, Request, read_png, write_png

IMAGE = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
FIELDS = dict(
    prompt="a dog", seed=1, steps=2, schedule="cosine", schedule_table=[[0.7, 1, 2, 3], [0, 1, 0, 3]],
    interpolated=False, guidance="auto", model="emoji", checkpoint="champion", checkpoint_name="baseline",
    checkpoint_sha256="0" * 64, sampler_version=1, block_rows=4, precision="float32", torch="2", unknown=[],
)  # fmt: skip
RECIPE = Recipe.read(FIELDS)
PNG = write_png(IMAGE, RECIPE)


def refused(field: str, call) -> str:
    with pytest.raises(RecipeError) as caught:
        call()
    text = str(caught.value)
    assert caught.value.field == field
    assert text.startswith(f"{field}: ") and text.endswith(".") and "\n" not in text
    return text


@pytest.mark.parametrize(
    "prompt", ["", "   \n", "x" * 10_000, "a\x00b", "bell \x07", "\x1b[31m", "\ud800", None, 7]
)
def test_bad_prompts_are_refused(prompt):
    assert "1 to 1000 printable characters" in refused("prompt", lambda: Request(prompt))


def test_html_is_plain_text_and_white_space_is_tidied():
    assert Request("<script>alert(1)</script>").prompt == "<script>alert(1)</script>"
    assert Request("  a dog\n\tand a cat ").prompt == "a dog and a cat"
    assert Request("a \N{DOG FACE}\N{VARIATION SELECTOR-16}").prompt.endswith("\N{VARIATION SELECTOR-16}")


@pytest.mark.parametrize(
    "steps", [0, 65, -1, "text", "", None, 2.5, float("nan"), float("inf"), True, 10**400]
)
def test_bad_steps_are_refused(steps):
    assert "from 1 to 64" in refused("steps", lambda: Request("a dog", steps=steps))


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, "x", 0.5, float("nan"), None])
def test_bad_seeds_are_refused(seed):
    assert "from 0 to 4294967295" in refused("seed", lambda: Request("a dog", seed=seed))


@pytest.mark.parametrize(
    "guidance", [float("nan"), float("inf"), -0.1, 20.1, "strong", "nan", "-inf", [1], True]
)
def test_bad_guidance_is_refused(guidance):
    assert "from 0 to 20" in refused("guidance", lambda: Request("a dog", guidance=guidance))


def test_numbers_may_come_as_text_and_guidance_may_be_empty():
    request = Request("a dog", seed="4294967295", steps=8.0, guidance=" 2.5 ")
    assert (request.seed, request.steps, request.guidance) == (2**32 - 1, 8, 2.5)
    assert Request("a dog", guidance="").guidance == Request("a dog", guidance=None).guidance == "auto"


def test_a_recipe_is_frozen_and_refuses_unknown_keys():
    with pytest.raises(ValueError, match="frozen"):
        RECIPE.seed = 2
    refused("colour", lambda: Recipe.read({**FIELDS, "colour": "red"}))


@pytest.mark.parametrize(
    "field, value",
    [
        ("seed", -1), ("steps", 0), ("steps", 65), ("checkpoint_sha256", "xyz"), ("precision", "float8"),
        ("guidance", "strong"), ("block_rows", 0), ("version", 2), ("prompt", ""), ("prompt", "a\x00"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(field, value):
    with pytest.raises(RecipeError) as caught:
        Recipe.read({**FIELDS, field: value})
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize(
    "table", [[], [[1, 1, 1, 1]], [[2, 1, 1, 1], [0, 1, 0, 1]], [[0.5, 1, 1], [0, 1, 1]]]
)
def test_a_bad_table_is_refused(table):
    with pytest.raises(RecipeError) as caught:
        Recipe.read({**FIELDS, "schedule_table": table})
    assert caught.value.field.startswith("schedule_table")


@pytest.mark.parametrize("data", ["", "{", b"\xff", "[" * 100_000, "7", "null"])
def test_what_is_not_a_recipe_is_refused(data):
    with pytest.raises(RecipeError):
        Recipe.read(data)


def test_json_round_trip_keeps_every_bit():
    table = np.random.default_rng(1).random((2, 4)).astype(np.float32).tolist()
    recipe = Recipe.read({**FIELDS, "schedule_table": table})
    again = Recipe.read(recipe.model_dump_json())
    assert again == recipe
    assert again.table().table.tolist() == table


def test_png_round_trip():
    image, recipe = read_png(PNG)
    assert (image == IMAGE).all() and recipe == RECIPE


@given(st.integers(0, len(PNG) - 1))
def test_a_truncated_png_is_refused(length):
    refused("file", lambda: read_png(PNG[:length]))


@given(st.integers(8, len(PNG) - 13), st.integers(1, 255))
def test_a_changed_byte_never_changes_what_is_read(at, flip):
    data = bytearray(PNG)
    data[at] ^= flip
    try:
        image, recipe = read_png(bytes(data))
    except RecipeError:
        return
    assert (image == IMAGE).all() and recipe == RECIPE


def test_foreign_pngs_are_refused():
    plain = io.BytesIO()
    Image.fromarray(IMAGE).save(plain, "PNG")
    assert "carries no recipe" in refused("file", lambda: read_png(plain.getvalue()))
    jpeg = io.BytesIO()
    Image.fromarray(IMAGE).save(jpeg, "JPEG")
    refused("file", lambda: read_png(jpeg.getvalue()))
    refused("file", lambda: read_png(b""))
    large = io.BytesIO()
    Image.new("1", (5000, 10)).save(large, "PNG")
    assert "4096 pixels" in refused("file", lambda: read_png(large.getvalue()))
    bomb = PNG[:16] + struct.pack(">II", 20_000, 20_000) + PNG[24:]
    assert "4096 pixels" in refused("file", lambda: read_png(bomb))


@pytest.mark.parametrize("what", ["pixels", "recipe", "mode"])
def test_a_tampered_png_is_refused(what):
    with Image.open(io.BytesIO(PNG)) as picture:
        text = dict(picture.text)
    image = IMAGE.copy()
    if what == "pixels":
        image[0, 0, 0] ^= 1
    if what == "recipe":
        text[CHUNK] = text[CHUNK].replace("a dog", "a cat")
    info = PngImagePlugin.PngInfo()
    info.add_itxt(CHUNK, text[CHUNK])
    info.add_itxt(SEAL, text[SEAL])
    picture = Image.fromarray(image)
    buffer = io.BytesIO()
    (picture.convert("RGBA") if what == "mode" else picture).save(buffer, "PNG", pnginfo=info)
    assert "changed after" in refused("file", lambda: read_png(buffer.getvalue()))
