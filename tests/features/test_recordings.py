"""All of a file is decoded, or the file is refused: never a part of it."""

import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
from signals import song

from musicemo.errors import InputError
from musicemo.features import Recipe, load
from musicemo.features._decode import check_level
from musicemo.features._recordings import mpeg_recordings

RATE = 44100
SECONDS = 3.0
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def stereo(seconds=SECONDS, rate=RATE):
    left = song(seconds, rate=rate)
    return np.stack([left, np.roll(left, 100) / 2], axis=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "source.wav"
    soundfile.write(path, stereo(), RATE)
    return path


def ffmpeg(source, path, *options):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", source, *options, path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def seconds(path, **recipe):
    return len(load(path, Recipe(**recipe))) / 22050


def outcome(path, **recipe):
    """Return the seconds that are decoded, or the message of the error."""
    try:
        return seconds(path, **recipe)
    except InputError as error:
        return str(error)


def frames_of(data):
    """Return an MP3's bytes from its first frame on that is not a header of counts."""
    place = data.index(b"\xff\xfb")
    marks = [data.find(mark) for mark in (b"Xing", b"Info") if mark in data]
    return data[data.index(b"\xff\xfb", marks[0]) :] if marks else data[place:]


def mp3(path, samples, rate=RATE):
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.1)
    return path.read_bytes()


@pytest.fixture
def loud_then_quiet():
    """Music of which the beginning takes many more bits than the rest."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(-0.7, 0.7, (RATE, 2)), stereo(3.0) / 50])


# MP3


def test_an_mp3_of_variable_bit_rate_without_a_count_is_read_to_its_end(tmp_path, loud_then_quiet):
    data = frames_of(mp3(tmp_path / "a.mp3", loud_then_quiet))
    (tmp_path / "b.mp3").write_bytes(data)
    with soundfile.SoundFile(tmp_path / "b.mp3") as file:
        assert file.frames < 3.5 * RATE  # an estimate from the first frame
    assert seconds(tmp_path / "b.mp3") == pytest.approx(4.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 10, None])
def test_an_mp3_whose_count_is_wrong_is_read_to_its_end(tmp_path, loud_then_quiet, count):
    data = bytearray(mp3(tmp_path / "a.mp3", loud_then_quiet))
    place = max(data.find(b"Xing"), data.find(b"Info"))
    if count is None:
        data[place + 7] &= ~1
    else:
        data[place + 8 : place + 12] = struct.pack(">I", count)
    (tmp_path / "b.mp3").write_bytes(data)
    assert seconds(tmp_path / "b.mp3") == pytest.approx(4.0, abs=0.1)
    if count is not None:
        np.testing.assert_array_equal(load(tmp_path / "b.mp3"), load(tmp_path / "a.mp3"))


@pytest.mark.slow
def test_recordings_of_several_formats_in_an_mp3_are_joined(tmp_path):
    parts = [mp3(tmp_path / "a.mp3", x, rate) for x, rate in ((stereo(2.0), RATE), (song(1.0), 22050))]
    alone = [load(tmp_path / "a.mp3")]
    mp3(tmp_path / "a.mp3", stereo(2.0))
    alone.insert(0, load(tmp_path / "a.mp3"))
    (tmp_path / "joined.mp3").write_bytes(b"".join(parts))
    joined = load(tmp_path / "joined.mp3")
    np.testing.assert_array_equal(joined[: len(alone[0])], alone[0])
    np.testing.assert_array_equal(joined[-len(alone[1]) :], alone[1])
    assert len(joined) == len(alone[0]) + len(alone[1])
    # An excerpt may lie in both.
    excerpt = load(tmp_path / "joined.mp3", Recipe(offset=1.5, duration=1.0))
    assert len(excerpt) == 22050
    np.testing.assert_allclose(excerpt[2000:9000], joined[33075 + 2000 : 33075 + 9000], atol=1e-4)
    with pytest.raises(InputError, match=r"begins at 9 s, and the file ends at 3\.\d+ s"):
        load(tmp_path / "joined.mp3", Recipe(offset=9.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "between", [b"\0" * 5000, b"TAG".ljust(128), b"ID3\4\0\0\0\0\x07\x68" + bytes(1000), b"noise" * 700]
)
def test_other_bytes_between_the_frames_of_an_mp3(tmp_path, between):
    data = mp3(tmp_path / "a.mp3", stereo())
    frames = frames_of(data)
    with (tmp_path / "a.mp3").open("rb") as file:
        (recording,) = mpeg_recordings(file, 0)
    half = frames.index(b"\xff\xfb", len(frames) // 2)
    (tmp_path / "b.mp3").write_bytes(data[: len(data) - len(frames) + half] + between + frames[half:])
    with (tmp_path / "b.mp3").open("rb") as file:
        (split,) = mpeg_recordings(file, 0)
    assert split.frames == pytest.approx(recording.frames, abs=3 * 1152)
    assert seconds(tmp_path / "b.mp3") == pytest.approx(SECONDS, abs=0.1)


def tag(size):
    return b"ID3\4\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


@pytest.mark.parametrize("before", [b"", tag(3000), tag(3000) + tag(90000), tag(300) + bytes(6000)], ids=len)
def test_a_truncated_mp3_behind_tags(tmp_path, before):
    data = mp3(tmp_path / "a.mp3", stereo())
    (tmp_path / "b.mp3").write_bytes(before + data)
    assert seconds(tmp_path / "b.mp3") == pytest.approx(SECONDS, abs=0.1)
    (tmp_path / "b.mp3").write_bytes(before + data[: len(data) * 55 // 100])
    with pytest.raises(
        InputError, match=r"b\.mp3 is truncated: its header declares 1\.\d\d s more than it holds"
    ):
        load(tmp_path / "b.mp3")
    # What is there can be used.
    np.testing.assert_array_equal(
        load(tmp_path / "b.mp3", Recipe(duration=1.0)), load(tmp_path / "a.mp3", Recipe(duration=1.0))
    )
    for beyond in (Recipe(duration=2.5), Recipe(offset=2.0, duration=0.5), Recipe(offset=1.0)):
        with pytest.raises(InputError, match="is truncated"):
            load(tmp_path / "b.mp3", beyond)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mp3", "ogg", "opus", "flac"])
def test_an_excerpt_is_a_part_of_one_read(tmp_path, form):
    path = tmp_path / f"a.{form}"
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.99} if form == "mp3" else {}
    rate = 48000 if form == "opus" else RATE
    kind = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(form, {})
    soundfile.write(path, song(4.0, rate=rate), rate, **kind, **options)
    whole = load(path, Recipe(sample_rate=rate))
    for offset in (0.7, 2.0, 3.21):
        begin = int(offset * rate)
        excerpt = load(path, Recipe(sample_rate=rate, offset=offset, duration=0.5))
        np.testing.assert_array_equal(excerpt, whole[begin : begin + len(excerpt)])
        assert len(excerpt) == rate // 2


@pytest.mark.slow
@pytest.mark.parametrize("form", ["wav", "flac", "ogg"])
def test_audio_of_another_format_behind_an_mp3(tmp_path, form):
    data = mp3(tmp_path / "a.mp3", stereo())
    soundfile.write(tmp_path / f"a.{form}", stereo(), RATE)
    for tags in (b"", b"TAG".ljust(128), bytes(500)):
        (tmp_path / "b.mp3").write_bytes(data + tags + (tmp_path / f"a.{form}").read_bytes())
        with pytest.raises(InputError, match="bytes behind its last frame are of another format"):
            load(tmp_path / "b.mp3")


# Ogg and FLAC


@pytest.mark.slow
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_of_which_zeros_replace_the_end(tmp_path, subtype):
    soundfile.write(tmp_path / "a.ogg", stereo(rate=48000), 48000, subtype=subtype)
    data = (tmp_path / "a.ogg").read_bytes()
    for part in (0.3, 0.5, 0.8):
        size = int(part * len(data))
        (tmp_path / "b.ogg").write_bytes(data[:size] + bytes(len(data) - size))
        with pytest.raises(InputError, match="truncated"):
            load(tmp_path / "b.ogg")
    for behind in (bytes(70_000), b"TAG".ljust(128), tag(3000)):
        (tmp_path / "b.ogg").write_bytes(data + behind)
        np.testing.assert_array_equal(load(tmp_path / "b.ogg"), load(tmp_path / "a.ogg"))
    (tmp_path / "b.ogg").write_bytes(data + tag(3000) + mp3(tmp_path / "a.mp3", stereo()))
    with pytest.raises(InputError, match="are not audio of this stream"):
        load(tmp_path / "b.ogg")


def test_chained_ogg_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "a.ogg", stereo(1.0), RATE)
    soundfile.write(tmp_path / "b.ogg", song(2.0), 22050)
    both = (tmp_path / "a.ogg").read_bytes() + (tmp_path / "b.ogg").read_bytes()
    (tmp_path / "c.ogg").write_bytes(both)
    expected = np.concatenate([load(tmp_path / "a.ogg"), load(tmp_path / "b.ogg")])
    np.testing.assert_array_equal(load(tmp_path / "c.ogg"), expected)
    (tmp_path / "c.ogg").write_bytes(both[:-500])
    with pytest.raises(InputError, match="is truncated: the last page"):
        load(tmp_path / "c.ogg")


def pages(data):
    starts = [place for place in range(len(data)) if data.startswith(b"OggS\0", place)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def test_ogg_copied_from_a_stream_has_no_last_page(tmp_path):
    soundfile.write(tmp_path / "a.ogg", stereo(), RATE)
    whole = pages((tmp_path / "a.ogg").read_bytes())
    (tmp_path / "b.ogg").write_bytes(b"".join(whole[:-1]))
    part = load(tmp_path / "b.ogg")
    assert 0.3 * SECONDS < len(part) / 22050 < SECONDS
    for missing in (1, 20, len(whole[-2]) - 3):
        (tmp_path / "b.ogg").write_bytes(b"".join(whole[:-1])[:-missing])
        with pytest.raises(InputError, match="is truncated"):
            load(tmp_path / "b.ogg")


def test_flac_of_unknown_or_wrong_length(tmp_path):
    soundfile.write(tmp_path / "a.flac", stereo(), RATE)
    expected = load(tmp_path / "a.flac")
    data = (tmp_path / "a.flac").read_bytes()
    for length in (0, 1000):
        changed = bytearray(data)
        changed[21] &= 0xF0
        changed[22:26] = struct.pack(">I", length)
        (tmp_path / "b.flac").write_bytes(changed)
        np.testing.assert_array_equal(load(tmp_path / "b.flac"), expected)
        excerpt = load(tmp_path / "b.flac", Recipe(sample_rate=RATE, offset=1.0, duration=0.5))
        np.testing.assert_array_equal(
            excerpt, load(tmp_path / "a.flac", Recipe(sample_rate=RATE))[RATE:][: len(excerpt)]
        )
    (tmp_path / "c.flac").write_bytes(data + data)
    assert seconds(tmp_path / "c.flac") == pytest.approx(2 * SECONDS, abs=1e-3)
    (tmp_path / "d.flac").write_bytes(tag(100) + data)
    np.testing.assert_array_equal(load(tmp_path / "d.flac"), expected)


# WAV, AIFF, AU


def with_length(data, mark, length, order="<"):
    place = data.index(mark) + 4
    whole = struct.pack(order + "I", min(length + 36, 0xFFFFFFFF))
    return data[:4] + whole + data[8:place] + struct.pack(order + "I", length) + data[place + 4 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "length", [0, 0x7FFFF000, 0x7FFFFFFF - 36, 0x80000000, 0x80000000 - 44, 0xFFFFFFFF - 36, 0xFFFFFFFF]
)
def test_a_wave_file_that_leaves_its_length_open(tmp_path, source, length):
    (tmp_path / "a.wav").write_bytes(with_length(source.read_bytes(), b"data", length))
    np.testing.assert_array_equal(load(tmp_path / "a.wav"), load(source))
    soundfile.write(tmp_path / "b.aiff", stereo(), RATE)
    data = with_length((tmp_path / "b.aiff").read_bytes(), b"SSND", length, ">")
    (tmp_path / "b.aiff").write_bytes(data)
    np.testing.assert_array_equal(load(tmp_path / "b.aiff"), load(source))
    soundfile.write(tmp_path / "c.au", stereo(), RATE)
    data = (tmp_path / "c.au").read_bytes()
    (tmp_path / "c.au").write_bytes(data[:8] + struct.pack(">I", length) + data[12:])
    np.testing.assert_array_equal(load(tmp_path / "c.au"), load(source))


def test_rf64_that_leaves_its_length_open(tmp_path, source):
    soundfile.write(tmp_path / "a.wav", stereo(), RATE, format="RF64")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    place = data.index(b"ds64") + 8
    data[place : place + 24] = bytes(24)
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    np.testing.assert_array_equal(load(tmp_path / "a.wav"), load(source))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF", "W64"])
def test_a_file_that_holds_less_or_more_than_it_declares(tmp_path, form):
    path = tmp_path / "a.xyz"
    soundfile.write(path, stereo(), RATE, format=form, subtype="PCM_16")
    data = path.read_bytes()
    assert seconds(path) == pytest.approx(SECONDS, abs=1e-3)
    for part in (0.5, 0.9):
        path.write_bytes(data[: int(part * len(data)) // 4 * 4])
        with pytest.raises(InputError, match="truncated"):
            load(path)
    path.write_bytes(data + data)
    joined = outcome(path)
    if isinstance(joined, str):
        assert (
            "lie behind the end that its header declares" in joined
            or "ffmpeg, which is not installed" in joined
        )
    else:
        assert joined == pytest.approx(2 * SECONDS, abs=1e-3)
    path.write_bytes(data + bytes(100_000))
    assert seconds(path) == pytest.approx(SECONDS, abs=1e-3)


def test_chunks_and_tags_behind_the_samples(tmp_path, source):
    chunk = b"LIST" + struct.pack("<I", 60_000) + bytes(range(250)) * 240
    for tail in (
        chunk,
        chunk + b"TAG" + bytes(125),
        tag(50_000),
        b"odd!" + struct.pack("<I", 3) + b"abc\0" + chunk,
    ):
        (tmp_path / "a.wav").write_bytes(source.read_bytes() + tail)
        np.testing.assert_array_equal(load(tmp_path / "a.wav"), load(source))


def test_audio_behind_the_samples(tmp_path, source):
    data = bytearray(source.read_bytes())
    samples = data[data.index(b"data") :]
    second = data + samples
    second[4:8] = struct.pack("<I", len(second) - 8)
    for joined in (second, data + tag(1000) + mp3(tmp_path / "a.mp3", stereo())):
        (tmp_path / "a.wav").write_bytes(joined)
        with pytest.raises(InputError, match=r"damaged|truncated|ffmpeg"):
            load(tmp_path / "a.wav")


# ffmpeg

FORMATS = {
    "a.m4a": (),
    "fast.m4a": ("-movflags", "+faststart"),
    "alac.m4a": ("-c:a", "alac", "-movflags", "+faststart"),
    "a.webm": ("-c:a", "libopus", "-ar", "48000"),
    "a.mka": ("-c:a", "flac"),
    "a.wma": (),
    "a.wv": (),
    "a.tta": (),
    "a.flv": ("-c:a", "aac"),
    "a.avi": ("-c:a", "pcm_s16le"),
    "alac.caf": ("-c:a", "alac"),
    "flac.oga": ("-c:a", "flac", "-f", "ogg"),
    "mp3.wav": ("-c:a", "libmp3lame", "-f", "wav"),
}


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("name", FORMATS)
def test_formats_that_ffmpeg_reads(tmp_path, source, name):
    try:
        path = ffmpeg(source, tmp_path / name, *FORMATS[name])
    except subprocess.CalledProcessError:
        pytest.skip(f"this ffmpeg does not write {name}")
    assert seconds(path) == pytest.approx(SECONDS, abs=0.15)
    excerpt, whole = (
        load(path, Recipe(offset=1.0, duration=0.5, sample_rate=RATE)),
        load(path, Recipe(sample_rate=RATE)),
    )
    if "webm" not in name:
        np.testing.assert_array_equal(excerpt, whole[RATE : RATE + len(excerpt)])
    data = path.read_bytes()
    for part in (0.6, 0.9):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(InputError, match="truncated"):
            load(path)
    path.write_bytes(data + data)
    joined = outcome(path)
    assert "damaged" in joined if isinstance(joined, str) else joined == pytest.approx(2 * SECONDS, abs=0.3)


@needs_ffmpeg
@pytest.mark.parametrize(
    "options", [("-f", "flac"), ("-f", "wav"), ("-f", "mp3", "-q:a", "2"), ("-f", "ogg"), ("-f", "au")]
)
def test_files_that_were_written_to_a_pipe(tmp_path, source, options):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, *options, "-"]
    done = subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (tmp_path / "a").write_bytes(done.stdout)
    assert seconds(tmp_path / "a") == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.slow
@needs_ffmpeg
def test_audio_beside_video(tmp_path, source):
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=5", "-map", "0:a", "-map", "1:v")
    for name, codecs in (
        ("a.ogg", ("-c:a", "libvorbis", "-c:v", "libtheora")),
        ("a.mkv", ("-c:a", "aac", "-c:v", "mpeg4")),
    ):
        try:
            path = ffmpeg(source, tmp_path / name, *picture, *codecs)
        except subprocess.CalledProcessError:
            pytest.skip(f"this ffmpeg does not write {name}")
        # The video is two seconds longer than the audio, which is whole.
        assert seconds(path) == pytest.approx(SECONDS, abs=0.15)


# The level


@pytest.mark.parametrize("count", [2, 4])
def test_channels_that_cancel(tmp_path, count):
    left = song(1.0) / 3
    rng = np.random.default_rng(0)
    channels = np.stack([left, -left] * (count // 2), axis=1)
    for noise, subtype in ((0.0, "FLOAT"), (0.0, "PCM_16"), (1e-3, "PCM_24")):
        noisy = channels + noise * rng.standard_normal(channels.shape)
        soundfile.write(tmp_path / "a.wav", noisy, 22050, subtype=subtype)
        with pytest.raises(
            InputError, match=rf"a\.wav: its {count} channels cancel: they are in opposite phase"
        ):
            load(tmp_path / "a.wav")


@pytest.mark.parametrize("form", ["mp3", "ogg"])
def test_channels_that_cancel_before_they_were_encoded(tmp_path, form):
    left = song(3.0, rate=RATE) / 3
    soundfile.write(tmp_path / f"a.{form}", np.stack([left, -left], axis=1), RATE)
    with pytest.raises(InputError, match="channels cancel"):
        load(tmp_path / f"a.{form}")


def test_channels_that_cancel_in_part(tmp_path):
    """A voice that was removed, a wide mix, and one silent channel are music."""
    left, right = song(2.0, seed=1) / 3, song(2.0, seed=2, detune=3.0) / 3
    for pair in ((left + right / 3, -left + right / 3), (left, -0.5 * left), (left, -right), (left, 0 * left)):
        soundfile.write(tmp_path / "a.wav", np.stack(pair, axis=1), 22050, subtype="FLOAT")
        np.testing.assert_allclose(load(tmp_path / "a.wav"), np.mean(pair, axis=0), atol=1e-6)


@pytest.mark.parametrize("rate", [22050, 44100])
def test_silence_and_constants_are_silent(tmp_path, rate):
    rng = np.random.default_rng(0)
    dither = rng.integers(-1, 2, rate) / 32768
    for samples in (np.zeros(rate), np.full(rate, 0.5), 0.25 + dither, dither, np.full(rate, 1e-40)):
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
        with pytest.raises(InputError, match=r"a\.wav is silent: all samples are "):
            load(tmp_path / "a.wav")
    check_level("a", -1e-3, 1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_channel_that_is_not_finite(tmp_path, value):
    from musicemo.features import analyse

    samples = stereo(1.0, 22050)
    samples[4000, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, 22050, subtype="FLOAT")
    with pytest.raises(InputError, match="not finite"):
        analyse(tmp_path / "a.wav")


# Damage


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_damage_is_an_input_error(tmp_path, form, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without ffmpeg, which takes its time
    path = tmp_path / f"a.{form}"
    soundfile.write(path, stereo(0.5, 22050), 22050)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data)
        for place in rng.integers(0, min(len(damaged), 200 if rng.random() < 0.7 else len(damaged)), 3):
            damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        result = outcome(path, duration=1.0)
        assert str(path) in result if isinstance(result, str) else result <= 1
