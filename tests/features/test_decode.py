"""Files become mono signals, or errors that say why not."""

import stat
import sys

import librosa
import numpy as np
import pytest
import soundfile
from signals import song

from musicemo.errors import InputError
from musicemo.features import Recipe, _decode, analyse, load

RATE = 44100


@pytest.fixture(scope="module")
def stereo():
    left = song(2.0, rate=RATE)
    return np.stack([left, np.roll(left, 100) / 2], axis=1)


@pytest.fixture(params=["wav", "flac", "ogg", "mp3", "aiff"])
def encoded(request, stereo, tmp_path):
    path = tmp_path / f"song.{request.param}"
    soundfile.write(path, stereo, RATE)
    return path


@pytest.fixture
def no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("rate", [22050, 44100, 16000])
def test_it_is_what_librosa_loads(encoded, rate):
    for excerpt in ({}, {"offset": 0.5, "duration": 0.7}):
        samples, read = soundfile.read(encoded, dtype="float32", always_2d=True)
        if excerpt:
            samples = samples[int(0.5 * read) :][: int(0.7 * read)]
        expected = librosa.resample(samples.T.mean(axis=0), orig_sr=read, target_sr=rate)
        actual = load(encoded, Recipe(sample_rate=rate, **excerpt))
        assert actual.dtype == np.float32
        # After a seek an MP3 decoder gives other last bits.
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 if encoded.suffix == ".mp3" else 0)


def test_a_long_file_is_read_in_blocks(stereo, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", stereo, RATE)
    whole = load(tmp_path / "a.flac")
    monkeypatch.setattr(_decode, "_READ", 10_000)
    np.testing.assert_array_equal(load(tmp_path / "a.flac"), whole)


def test_an_excerpt_may_end_before_its_duration(tmp_path):
    soundfile.write(tmp_path / "a.wav", song(1.0), 22050)
    assert len(load(tmp_path / "a.wav", Recipe(offset=0.6, duration=5.0))) == 22050 - 13230


@pytest.mark.parametrize("offset", [1.0, 5.0])
def test_an_excerpt_behind_the_end_is_an_error(tmp_path, offset):
    soundfile.write(tmp_path / "a.wav", song(1.0), 22050)
    with pytest.raises(InputError, match=r"a\.wav: the excerpt begins at .*ends at 1\.000 s"):
        load(tmp_path / "a.wav", Recipe(offset=offset))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.mp3: there is no such file"):
        load(tmp_path / "nothing.mp3")


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        load(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(InputError, match=r"a\.wav is empty"):
        load(tmp_path / "a.wav")


def test_a_file_without_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.empty(0, np.float32), 22050)
    with pytest.raises(InputError, match=r"a\.wav holds no samples"):
        load(tmp_path / "a.wav")


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a"])
def test_what_is_not_audio(tmp_path, name):
    (tmp_path / name).write_text("this is no song\n" * 200)
    with pytest.raises(InputError, match=rf"{name} is not audio in a format .* ffmpeg, which is not installed"):
        load(tmp_path / name)


@pytest.mark.parametrize("part", [0.5, 0.25])
def test_a_truncated_file(encoded, part):
    data = encoded.read_bytes()
    encoded.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"song\.\w+ is (damaged or )?truncated"):
        load(encoded)


def test_an_ogg_file_whose_last_page_is_cut(stereo, tmp_path):
    path = tmp_path / "song.ogg"
    soundfile.write(path, stereo, RATE)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="the last page of its Ogg stream is incomplete"):
        load(path)


def test_an_mp3_without_a_declared_length_is_not_called_truncated(tmp_path):
    path = tmp_path / "a.mp3"
    swell = np.linspace(0, 1, 5 * RATE) ** 4 * np.random.default_rng(0).standard_normal(5 * RATE) / 4
    soundfile.write(path, swell, RATE)
    data = path.read_bytes()
    path.write_bytes(data[data.find(b"\xff\xfb", 4) :])
    with soundfile.SoundFile(path) as file:
        assert file.frames > 6 * RATE  # libsndfile's guess, far too long
    assert len(load(path)) == pytest.approx(5 * 22050, rel=0.02)


def test_a_wave_file_from_a_pipe_has_no_length(stereo, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, stereo, RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    place = data.find(b"data") + 4
    data[place : place + 4] = data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(load(path)) == len(stereo) // 2


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """Install a program that takes ffmpeg's place: it copies what follows the file's first line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "path = sys.argv[sys.argv.index('-i') + 1].removeprefix('file:')\n"
        "first, rest = open(path, 'rb').read().split(b'\\n', 1)\n"
        "if first != b'exotic':\n"
        "    sys.exit('Invalid data found when processing input')\n"
        "sys.stdout.buffer.write(rest)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def exotic(path, samples, rate):
    soundfile.write(path, samples, rate, format="AU", subtype="FLOAT", endian="BIG")
    path.write_bytes(b"exotic\n" + path.read_bytes())
    return path


@pytest.mark.usefixtures("fake_ffmpeg")
def test_other_formats_go_through_ffmpeg(stereo, tmp_path):
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    exotic(tmp_path / "a.xyz", stereo, RATE)
    for recipe in (Recipe(), Recipe(offset=0.5, duration=0.7), Recipe(duration=10.0)):
        np.testing.assert_array_equal(load(tmp_path / "a.xyz", recipe), load(tmp_path / "a.wav", recipe))
    with pytest.raises(InputError, match=r"begins at 9 s, and the file ends at 2\.000 s"):
        load(tmp_path / "a.xyz", Recipe(offset=9.0))


@pytest.mark.usefixtures("fake_ffmpeg")
def test_what_ffmpeg_cannot_read_either(tmp_path):
    (tmp_path / "a.xyz").write_text("words\nand more words")
    with pytest.raises(InputError, match=r"a\.xyz is not audio .*: Invalid data found"):
        load(tmp_path / "a.xyz")


def test_errors_of_the_signal_name_the_file(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(22050, np.float32), 22050)
    with pytest.raises(InputError, match=r"silent\.wav is silent"):
        analyse(tmp_path / "silent.wav")
    soundfile.write(tmp_path / "short.wav", song(0.05), 22050)
    with pytest.raises(InputError, match=r"short\.wav is too short: 1102 samples.*at least 2048 samples"):
        analyse(tmp_path / "short.wav")
    broken = song(1.0)
    broken[100] = np.nan
    soundfile.write(tmp_path / "broken.wav", broken, 22050, subtype="FLOAT")
    with pytest.raises(InputError, match=r"broken\.wav has samples that are not finite"):
        analyse(tmp_path / "broken.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems insist on UTF-8")
@pytest.mark.parametrize("form", ["wav", "ogg", "mp3"])
def test_a_files_name_need_not_be_utf8(form, tmp_path):
    soundfile.write(tmp_path / f"song.{form}", song(1.0), 22050)
    odd = tmp_path / f"br\udcff\udcfeken.{form}"
    (tmp_path / f"song.{form}").rename(odd)
    assert len(load(odd)) == pytest.approx(22050, abs=2000)
