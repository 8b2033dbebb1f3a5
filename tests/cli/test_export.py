"""``musicemo export``."""

from __future__ import annotations

import re

import pytest
import soundfile
from signals import RATE, song

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.slow
def test_a_file_that_was_compared_with_torch(command, trained, tmp_path):
    finished = command("export", trained.first, tmp_path / "model.onnx")
    assert (finished.code, finished.err) == (0, "")
    found = re.search(r"largest difference to torch on 16 clips: (\S+)", finished.out)
    assert found
    assert float(found[1]) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["valence", "genre"]


@pytest.mark.slow
def test_songs_to_compare_with(command, trained, tmp_path):
    soundfile.write(tmp_path / "a.wav", song(12.0, bpm=140), RATE)
    finished = command("export", trained.first, tmp_path / "model.onnx", "--check", tmp_path / "a.wav")
    assert (finished.code, finished.err) == (0, "")
    assert int(re.search(r"on (\d+) clips", finished.out)[1]) > 1


@pytest.mark.parametrize(
    ("run", "model", "message"),
    [
        ("runs/songs", "model.onnx", "contains 2 runs, but an ONNX file holds only one. Name one of"),
        ("FIRST", "model.pt", "model.pt: the file name must end with .onnx"),
        ("FIRST", "nowhere/model.onnx", "the folder nowhere does not exist"),
        ("runs/none", "model.onnx", "there is no such run directory"),
    ],
)
def test_what_is_wrong_is_told(command, trained, run, model, message):
    finished = command("export", trained.first if run == "FIRST" else run, model)
    assert (finished.code, finished.out) == (2, "")
    assert message in finished.err
    assert not list(trained.folder.glob("*.onnx"))
