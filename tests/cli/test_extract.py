"""``musicemo extract``."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from musicemo.cli import main
from musicemo.features import Pack, describe, read_features


@pytest.fixture
def musicemo(monkeypatch, capsys):
    """Return ``musicemo(*arguments)``, which gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["musicemo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code, *capsys.readouterr())

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Two songs, and a text that says it is one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("music/rock/1.wav", "music/pop/1.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(22050), 22050)
    (tmp_path / "music/pop/[b]2.mp3").write_text("no samples\n" * 100)
    return tmp_path / "music"


@pytest.mark.slow
def test_songs_are_extracted_packed_and_left_alone(musicemo, music, tmp_path):
    code, out, err = musicemo("extract", "music", "out", "--jobs", 1, "--pack", "beat", "--duration", 0.5)
    assert code == 0
    assert out.startswith("out: 2 songs extracted in ")
    assert "0 existed before; 1 failed\n" in out
    assert "music/pop/[b]2.mp3  is not audio" in out
    assert err.startswith("Extracting: 3 songs\n")
    with (tmp_path / "out/failures.csv").open(newline="") as file:
        (failure,) = csv.DictReader(file)
    assert failure["path"] == "music/pop/[b]2.mp3"
    assert failure["reason"].startswith("is not audio")
    files = {name: tmp_path / "out" / f"{name}.npz" for name in ("pop/1", "rock/1")}
    assert {describe(file).recipe["duration"] for file in files.values()} == {0.5}
    pack = Pack(tmp_path / "out/beat.pack")
    assert list(pack) == list(files)
    for name, file in files.items():
        np.testing.assert_array_equal(pack[name], read_features(file).beat)

    (music / "pop/[b]2.mp3").unlink()
    code, out, _ = musicemo("extract", "music", "out", "--jobs", 1, "--duration", 0.5)
    assert (code, out) == (0, "out: 0 songs extracted; 2 existed before; 0 failed\n")
    assert (tmp_path / "out/failures.csv").read_text() == "path,reason\n"


@pytest.mark.slow
def test_strict_stops_and_fails(musicemo, music):
    code, _, err = musicemo("extract", "music/**/*2.mp3", "out", "--jobs", 1, "--strict")
    assert code == 1
    assert "error: music/pop/[b]2.mp3: is not audio" in err


@pytest.mark.slow
def test_nothing_to_be_had_is_a_failure(musicemo, music):
    code, out, err = musicemo("extract", "music/pop/[b]2.mp3", "out", "--jobs", 1, "--pack", "frame")
    assert code == 1
    assert "out: 0 songs extracted; 0 existed before; 1 failed" in out
    assert err.endswith("error: none of 1 songs could be analyzed\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["music"], "Missing argument"),
        (
            ["nowhere", "music/*.ogg", "out"],
            "error: nowhere: there is no such file or folder\nerror: music/*.ogg",
        ),
        (
            ["music", "music/rock/1.wav"],
            "error: music/rock/1.wav: is a file. The last argument must be the output folder",
        ),
        (["music", "out", "--hop", "5000"], "error: recipe.hop is 5000; it must be at most half of n_fft"),
        (["music", "out", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["music", "out", "--launcher", "lokal"], "no launcher has the name 'lokal'; did you mean 'local'?"),
        (["music", "out", "--pack", "bars"], "Invalid value for '--pack'"),
        (["music/rock/1.wav", "music/pop/1.wav", "out"], "would have one feature file, out/1.npz"),
    ],
)
def test_wrong_arguments_do_nothing(musicemo, music, tmp_path, arguments, said):
    code, out, err = musicemo("extract", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_interruption_can_be_gone_on_from(music, tmp_path):
    soundfile.write(music / "0.wav", np.random.default_rng(0).standard_normal(300_000) / 9, 22050)
    for index in range(1, 60):
        os.link(music / "0.wav", music / f"{index}.wav")
    command = [sys.executable, "-c", "from musicemo.cli import main; main()", "extract", "music", "out"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 240
    while len(list(tmp_path.glob("out/*.npz"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=120)
    assert program.returncode == 130
    assert err.endswith("interrupted: run the same command again to continue\n")


@pytest.mark.slow
def test_another_extractor_is_that_of_a_table(musicemo, music, tmp_path):
    (tmp_path / "mfcc.toml").write_text("""[features]
type = "mfcc"
coefficients = 5
outputs = ["mfcc"]
grid = "segment"
segment = 0.5
""")
    code, out, _ = musicemo("extract", "music/rock", "out", "--features", "mfcc.toml", "--jobs", 1)
    assert (code, out[:24]) == (0, "out: 1 songs extracted i")
    with np.load(tmp_path / "out/1.npz") as arrays:
        assert arrays["mfcc"].shape == (2, 5)
        np.testing.assert_allclose(arrays["edges"], [0, 0.5, 1])
    info = describe(tmp_path / "out/1.npz")
    assert info.recipe["coefficients"] == 5
    assert info.source.name == "1.wav"
    _, out, _ = musicemo("extract", "music/rock", "out", "--features", "mfcc.toml", "--jobs", 1)
    assert "0 songs extracted; 1 existed before" in out
    (tmp_path / "mfcc.toml").write_text('[features]\ntype = "mfcc"\ncoefficients = 6\n')
    _, out, _ = musicemo("extract", "music/rock", "out", "--features", "mfcc.toml", "--jobs", 1)
    assert "1 songs extracted" in out


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (
            '[features]\ntype = "mfc"\n',
            (),
            "f.toml:2: features.type: no feature extractor has the name 'mfc'; did you",
        ),
        (
            '[features]\ntype = "mfcc"\nhops = 3\n',
            (),
            "f.toml:3: features.hops: unknown key; did you mean 'hop'?",
        ),
        ('[features]\ntype = "arrays"\n', (), "'arrays' reads ready-made arrays, not audio"),
        ("[model]\n", (), "f.toml: needs one table [features]"),
        ('[[features]]\ntype = "mfcc"\n' * 2, (), "f.toml: needs one table [features], but has 2 streams"),
        (
            '[features]\ntype = "mfcc"\n[launcher]\njob = 2\n',
            ("--launcher", "local"),
            "f.toml:4: launcher.job: unknown key; did you mean 'jobs'?",
        ),
        ('[features]\ntype = "mfcc"\n', ("--hop", 256), "--features: the parameters are those of the file"),
    ],
)
def test_a_table_of_features_that_cannot_be_used(musicemo, music, tmp_path, text, arguments, message):
    (tmp_path / "f.toml").write_text(text)
    code, _, err = musicemo("extract", "music", "out", "--features", "f.toml", *arguments)
    assert code == 2
    assert message in err
