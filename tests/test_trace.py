import hashlib
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mock_model import MockModel

from cogrpo import schedules
from cogrpo.decode import decode
from cogrpo.trace import _NAMES, MAGIC, Trace, TraceError, write_atomically


def make(steps=6, model=None, recipe=None) -> Trace:
    model = model or MockModel()
    done = list(decode(model, model.condition(["a"]), [schedules.build("cosine", steps)], [3]))
    return Trace.of(done, 0, recipe or {"prompt": "a"}, model.grid, model.vocab_size, "0" * 64)


TRACE = make()
DATA = TRACE.to_bytes()


def same(a: Trace, b: Trace) -> bool:
    arrays = all(np.array_equal(getattr(a, n), getattr(b, n)) for n in _NAMES)
    types = all(getattr(a, n).dtype == getattr(b, n).dtype for n in _NAMES)
    return arrays and types and dict(a.recipe) == dict(b.recipe) and a.grid == b.grid


def forge(change, content=None) -> bytes:
    """The file with its header changed and its checksum made right again."""
    (length,) = struct.unpack_from("<I", DATA, 40)
    header = json.loads(DATA[44 : 44 + length])
    header = change(header) or header
    text = json.dumps(header).encode()
    body = struct.pack("<I", len(text)) + text + (DATA[44 + length :] if content is None else content)
    return MAGIC + hashlib.sha256(body).digest() + body


def test_saving_and_loading_change_nothing(tmp_path):
    TRACE.save(tmp_path / "a.trace")
    assert same(Trace.load(tmp_path / "a.trace"), TRACE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.trace"]


def test_a_trace_tells_every_state_of_the_decode():
    model = MockModel()
    steps = list(decode(model, model.condition(["a"]), [schedules.build("cosine", 6)], [3]))
    tokens, hidden = torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.bool)
    for index, step in enumerate(steps):
        told = TRACE.state(index)
        assert torch.equal(told[0], tokens.masked_fill(hidden, 0)) and torch.equal(told[1], hidden)
        tokens, hidden = torch.where(step.kept[0], step.sampled[0], tokens), step.hidden[0]
        assert (TRACE.kept[index] == step.kept[0].numpy()).all()
        assert (TRACE.token_logprob[index] == step.token_logprob[0].numpy()).all()


def test_the_format_can_be_read_by_the_book():
    """As a browser does it: nothing of ours but the description in the module's docstring."""
    assert DATA[:8] == b"CGTRACE1"
    assert DATA[8:40] == hashlib.sha256(DATA[40:]).digest()
    (length,) = struct.unpack_from("<I", DATA, 40)
    header = json.loads(DATA[44 : 44 + length].decode())
    content = zlib.decompress(DATA[44 + length :])
    told = {entry["name"]: entry for entry in header["arrays"]}
    assert header["steps"] == 6 and header["grid"] == [4, 4] and header["vocab_size"] == 40
    assert all(entry["offset"] % 8 == 0 for entry in told.values())
    sampled = np.frombuffer(content, "<u2", 6 * 16, told["sampled"]["offset"]).reshape(6, 16)
    assert (sampled == TRACE.sampled).all()
    kept = np.frombuffer(content, "u1", 16, told["kept_step"]["offset"])
    packed = told["token_logprob"]["shape"][0]
    assert packed == sum(int((kept >= step).sum()) for step in range(6))
    logprob = np.frombuffer(content, "<f4", packed, told["token_logprob"]["offset"])
    assert (logprob == TRACE.token_logprob[TRACE.hidden_before]).all()


def test_sixteen_steps_of_a_model_of_the_embedded_size_are_small():
    trace = make(16, MockModel((8, 8), 2250, sharpness=0.5))
    assert len(trace.to_bytes()) < 30_000


def test_large_vocabularies_use_larger_integers():
    trace = make(2, MockModel((2, 2), 70_000))
    assert trace.sampled.dtype == np.uint32
    assert same(Trace.from_bytes(trace.to_bytes()), trace)


def test_a_shared_trace_carries_pictures_and_atlas():
    pictures = [b"one", b"three", b"x", b"yy", b"z", b"last"]
    shared = TRACE.shared(pictures, b"strip", [4, 7], (2, 2))
    again = Trace.from_bytes(shared.to_bytes())
    assert again.pictures == pictures
    assert again.attachments["atlas"].tobytes() == b"strip"
    assert again.extras["atlas"] == {"codes": [4, 7], "cell": [2, 2]}
    assert same(again, TRACE) and TRACE.pictures == []


def test_an_unfinished_decode_makes_no_trace():
    model = MockModel()
    step = next(decode(model, model.condition(["a"]), [schedules.build("cosine", 6)], [3]))
    with pytest.raises(ValueError, match="not finished"):
        Trace.of([step], 0, {}, model.grid, model.vocab_size, "")


@given(st.integers(0, len(DATA) - 1))
def test_a_truncated_file_is_refused(length):
    with pytest.raises(TraceError):
        Trace.from_bytes(DATA[:length])


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at, flip):
    data = bytearray(DATA)
    data[at] ^= flip
    with pytest.raises(TraceError):
        Trace.from_bytes(bytes(data))


def edit(name: str, **values):
    def change(header):
        next(entry for entry in header["arrays"] if entry["name"] == name).update(values)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.pop("grid") and None, lambda h: h.update(steps=0), lambda h: h.update(steps=65),
        lambda h: h.update(steps="6"), lambda h: h.update(steps=5), lambda h: h.update(version=2),
        lambda h: h.update(grid=[10**6, 10**6]), lambda h: h.update(grid=[-4, -4]),
        lambda h: h.update(vocab_size=8),
        lambda h: h.update(arrays=[]), lambda h: h.update(arrays=None), lambda h: h.update(recipe=7),
        lambda h: h["arrays"].pop(0) and None, lambda h: [1, 2],
        edit("sampled", dtype="object"), edit("sampled", offset=-8), edit("sampled", offset=10**12),
        edit("sampled", shape=[6, -16]), edit("sampled", shape=[6, 17]),
        edit("top_codes", shape=[10**9, 10**9]),
        edit("kept_step", offset="0"), edit("confidence", dtype="float32"),
    ],
)  # fmt: skip
def test_a_forged_header_is_refused_in_one_sentence(change):
    with pytest.raises(TraceError) as caught:
        Trace.from_bytes(forge(change))
    assert str(caught.value).startswith("trace: ") and str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.pop("pictures"), lambda e: e.pop("atlas"), lambda e: e["pictures"].update(offsets=[0, 3]),
        lambda e: e["pictures"].update(offsets=[0, 1, 2, 3, 4, 5, 900]), lambda e: e["atlas"].update(codes=["a"]),
        lambda e: e["atlas"].update(codes=[50_000]), lambda e: e["atlas"].update(codes=[]),
        lambda e: e["atlas"].update(cell=[0, 2]), lambda e: e["pictures"].update(offsets=[0, 1, 1, 2, 3, 4, 6]),
    ],
)  # fmt: skip
def test_pictures_that_do_not_fit_their_header_are_refused(change):
    shared = TRACE.shared([b"p"] * 6, b"strip", [4, 7], (2, 2))
    Trace.from_bytes(shared.to_bytes())
    change(shared.extras)
    with pytest.raises(TraceError) as caught:
        Trace.from_bytes(shared.to_bytes())
    assert str(caught.value).startswith("trace: ") and str(caught.value).count(". ") == 0


def test_decompression_is_bounded():
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(TraceError, match="another size"):
        Trace.from_bytes(forge(lambda header: None, bomb))


def test_unchanged_forgery_is_the_file_itself():
    assert same(Trace.from_bytes(forge(lambda header: None)), TRACE)


def test_foreign_and_missing_files_are_refused(tmp_path):
    (tmp_path / "a.trace").write_bytes(b"\x89PNG\r\n")
    for name in ("a.trace", "missing.trace"):
        with pytest.raises(TraceError):
            Trace.load(tmp_path / name)
    with pytest.raises(TraceError):
        Trace.load(tmp_path)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    write_atomically(tmp_path / "a", b"old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError):
        write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
