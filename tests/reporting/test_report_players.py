"""Players beside the tracks of a report."""

import base64
import hashlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from complaints import warns
from reading_html import Reader
from recorded_runs import evaluation, write_run

from musicemo.contracts import Target, Track
from musicemo.errors import RunError
from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting import add_players, make_report, players, render, write_report
from musicemo.reporting.blocks import Charts, Label, Page, Section, Table
from musicemo.reporting.charts import Excerpt, Points
from musicemo.reporting.players import _write
from musicemo.reporting.sections.plane import Dimension, plane_chart

TRACKS = 12
RATE = 8000

TOML = """\
name = "{name}"
seed = {seed}
[dataset]
type = "tones"
[model]
type = "of a package that is not installed"
[tasks.valence]
[training]
epochs = {epochs}
"""

EXCERPT = (
    TOML
    + """
[features]
type = "of a package that is not installed"
excerpt = [2.0, 40.0]
"""
)


@dataclass(frozen=True)
class Tone:
    """A tone whose frequency is that of its track in its first two seconds, and half of it afterwards."""

    hertz: float
    seconds: float = 3.0

    @property
    def identity(self):
        return f"tone-{self.hertz:g}"

    def samples(self):
        if not self.hertz:
            raise ValueError("it has no frequency")
        time = np.arange(round(self.seconds * RATE)) / RATE
        hertz = np.where(time < 2, self.hertz, self.hertz / 2)
        return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), RATE


def hertz_of(track: str) -> float:
    return 400.0 + 100 * int(track[-3:])


def dataset_of(audio):
    """Return a dataset whose tracks have this audio: id -> audio."""

    class Tones:
        targets = (Target("valence", "regression", range=(1.0, 9.0)),)

        def tracks(self):
            yield from (Track(name, targets={"valence": 5.0}, audio=one) for name, one in audio.items())

    return Tones


def write(folder, prefix="track", toml=TOML):
    """Write a run whose test tracks have these names; return it with the names."""
    test = evaluation(TRACKS, prefix=prefix)
    return write_run(folder / "runs" / "tones", parts={"test": test}, toml=toml), test.tasks["valence"].ids


def policy(page: Reader) -> str:
    return next(one["content"] for one in page.named("meta") if one.get("http-equiv"))


def frequency(samples, rate) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@pytest.mark.slow
def test_each_track_plays_its_audio_from_a_file_beside_the_page(install, tmp_path):
    directory, ids = write(tmp_path, prefix='../"<b>& ü')
    audio = {name: Tone(hertz_of(name)) for name in ids}
    recorded = make_report(directory).tracks[0]
    soundfile.write(tmp_path / "song.flac", *audio[recorded].samples())
    install("dataset", "tones", dataset_of(audio | {recorded: tmp_path / "song.flac"}))
    path = tmp_path / "a page.html"
    page = add_players(make_report(directory), path, directory)
    text = write_report(page, path).read_text()
    written = Reader(text)
    players = [one for one in written.named("audio") if "src" in one]
    assert {one["aria-label"] for one in players} == set(page.tracks)
    assert len(page.tracks) > 5
    for one in players:
        assert one["preload"] == "none"
        file = tmp_path / unquote(one["src"])
        assert file.parent == tmp_path / "a page-audio"
        info = soundfile.info(file)
        assert (info.samplerate, info.subtype, info.channels) == (22050, "MPEG_LAYER_III", 1)
        samples, rate = soundfile.read(file)
        assert len(samples) == pytest.approx(3 * rate, abs=3000)  # the format rounds the length up
        assert frequency(samples[:rate], rate) == pytest.approx(hertz_of(one["aria-label"]), abs=2)
    assert len(list((tmp_path / "a page-audio").iterdir())) == len(page.tracks)
    assert written.named("b") == Reader(render(make_report(directory))).named("b")
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"media-src 'self'; script-src 'sha256-{digest}'"
    assert policy(written) == f"default-src 'none'; style-src 'unsafe-inline'; {allowed}"


def test_an_excerpt_that_is_there_is_kept_until_the_audio_changes(install, tmp_path, monkeypatch):
    directory, ids = write(tmp_path)
    song = tmp_path / "song.wav"
    soundfile.write(song, *Tone(400.0).samples())
    install("dataset", "tones", dataset_of(dict.fromkeys(ids, song)))
    written = []

    def record(samples, path):
        written.append(path)
        path.write_bytes(b"mp3")

    monkeypatch.setattr(players, "_write", record)
    for count, stamp in (
        (len(make_report(directory).tracks), 1),
        (0, 1),
        (len(make_report(directory).tracks), 2),
    ):
        os.utime(song, (stamp, stamp))
        written.clear()
        page = add_players(make_report(directory), tmp_path / "page.html", directory)
        assert page.plays
        assert len(written) == len(set(written)) == count
    assert written[0].name.startswith(f"{make_report(directory).tracks[0]}-")


@pytest.mark.slow
def test_excerpts_are_written_in_other_processes(install, tmp_path, monkeypatch):
    directory, _ = write(tmp_path)
    song = tmp_path / "song.wav"
    soundfile.write(song, *Tone(400.0).samples())
    monkeypatch.setattr(players, "_WORTH_STARTING", 1)
    monkeypatch.setattr(players, "_write", None)  # of this process
    install("dataset", "tones", dataset_of({make_report(directory).tracks[0]: song}))
    with warns("the dataset has no audio of them"):
        add_players(make_report(directory), tmp_path / "page.html", directory)
    (file,) = (tmp_path / "page-audio").iterdir()
    assert soundfile.info(file).samplerate == 22050


def test_of_many_points_those_of_the_tables_and_a_spread_sample_play(tmp_path):
    column, row = np.divmod(np.arange(400), 20)  # a grid of 20 x 20
    ids = [f"track{place:03d}" for place in range(400)]
    points = Points(column.tolist(), row.tolist(), titles=ids, tracks=ids)
    chart = plane_chart(Dimension("valence"), Dimension("arousal"), [points])
    table = Table(["track"], [[Label("worst", tracks=["track210"])]])
    page = Page("run", "title", "", "", [], [], [Section("plane", [table, Charts([chart])])])
    chosen = players._choose(page)
    assert (len(chosen), len(set(chosen)), chosen[0]) == (60, 60, "track210")
    assert {"track000", "track019", "track380", "track399"} < set(chosen)  # the corners
    at = np.array([divmod(int(track[-3:]), 20) for track in chosen])
    apart = np.hypot(*(at[:, None] - at[None]).T)[~np.eye(60, dtype=bool)]
    assert apart.min() > 1.4  # no neighbours in a row or a column
    page = page.with_players({track: Excerpt(tmp_path / f"{track}.mp3") for track in chosen})
    text = render(page, tmp_path)
    assert "Click one of the 60 outlined points (400 tracks are drawn) to hear its track" in text
    assert len([one for one in Reader(text).named("circle") if one["class"] == "dot plays c0"]) == 60


def test_a_page_without_players_may_not_load_audio(tmp_path):
    directory, _ = write(tmp_path)
    page = Reader(render(make_report(directory), tmp_path))
    assert page.named("audio") == page.named("script") == []
    assert policy(page) == "default-src 'none'; style-src 'unsafe-inline'"


def test_an_excerpt_has_30_s_and_begins_where_the_model_begins_to_listen(install, tmp_path):
    directory, _ = write(tmp_path, toml=EXCERPT)
    page = make_report(directory)
    install("dataset", "tones", dataset_of({page.tracks[0]: Tone(400.0, 40.0)}))
    with warns("have no player"):
        assert add_players(page, tmp_path / "page.html", directory).plays
    (file,) = (tmp_path / "page-audio").iterdir()
    samples, rate = soundfile.read(file)
    assert len(samples) == pytest.approx(30 * rate, abs=3000)
    assert frequency(samples[:rate], rate) == pytest.approx(200, abs=2)


def test_a_track_that_is_shown_over_time_has_an_excerpt_of_that_time(install, tmp_path):
    times = np.arange(1.5, 3.5, 0.5)
    rated = TaskEvaluation.of_series(["track000"], [times], [times], [times / 2])
    tasks = {"valence": {"kind": "series", "target": "valence", "range": [1.0, 9.0]}}
    parts = {"test": Evaluation({"valence": rated})}
    directory = write_run(tmp_path / "runs" / "tones", parts=parts, toml=TOML, tasks=tasks)
    install("dataset", "tones", dataset_of({"track000": Tone(400.0)}))
    page = add_players(make_report(directory), tmp_path / "page.html", directory)
    (file,) = (tmp_path / "page-audio").iterdir()
    samples, rate = soundfile.read(file)
    assert len(samples) == pytest.approx(1.5 * rate, abs=3000)
    assert frequency(samples[-rate // 2 :], rate) == pytest.approx(200, abs=4)
    written = Reader(render(page, tmp_path))
    (of_chart,) = (one for one in written.named("audio") if "data-start" in one)
    assert of_chart["data-start"] == "1.5"
    cursors = [one for one in written.named("path") if one.get("class") == "cursor"]
    assert [one["data-times"] for one in cursors] == ["[1.5, 3.0]"]


def test_tracks_without_audio_are_counted_and_the_others_have_players(install, tmp_path):
    directory, ids = write(tmp_path)
    tracks = make_report(directory).tracks
    audio = {name: Tone(hertz_of(name)) for name in ids}
    audio |= dict.fromkeys(tracks[:4], None)
    audio |= {tracks[4]: Path("/nowhere/song.wav"), tracks[5]: Tone(0.0)}
    install("dataset", "tones", dataset_of(audio))
    with warns("have no player") as texts:
        page = add_players(make_report(directory), tmp_path / "page.html", directory)
    players = [one for one in Reader(render(page, tmp_path)).named("audio") if "src" in one]
    assert {one["aria-label"] for one in players} == set(tracks[6:]) != set()
    first, second = texts
    assert first == (
        f"4 of {len(tracks)} tracks have no player, because the dataset has no audio of them: "
        f"{tracks[0]!r}, {tracks[1]!r}, {tracks[2]!r} and 1 more"
    )
    assert second == (
        f"2 of {len(tracks)} tracks have no player, because their audio cannot be read: "
        f"{Path('/nowhere/song.wav')}: there is no such file, tone-0: cannot be read: ValueError: it has no frequency"
    )


def test_a_dataset_that_cannot_be_read_is_a_warning(install, tmp_path):
    directory, _ = write(tmp_path)
    install("dataset", "others", dataset_of({}))
    report = make_report(directory)
    with warns(
        "the report has no players, because the dataset cannot be read: .*no dataset has the name 'tones'"
    ):
        assert add_players(report, tmp_path / "page.html", directory) == report
    assert not (tmp_path / "page-audio").exists()


def test_a_run_that_lists_no_tracks_is_a_warning(tmp_path):
    directory = write_run(tmp_path / "runs" / "failed", status="failed", toml=TOML)
    report = make_report(directory)
    with warns() as texts:
        assert add_players(report, tmp_path / "page.html", directory) == report
    assert texts == [f"{directory}: the report has no players, because it lists no tracks"]


def test_a_folder_of_excerpts_that_cannot_be_created(install, tmp_path):
    directory, ids = write(tmp_path)
    install("dataset", "tones", dataset_of({name: Tone(hertz_of(name)) for name in ids}))
    (tmp_path / "page-audio").write_text("")
    with pytest.raises(RunError, match="page-audio"):
        add_players(make_report(directory), tmp_path / "page.html", directory)


def test_an_interrupt_while_an_excerpt_is_written_ends_the_command(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 22050 * 30).astype(np.float32)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        with pytest.raises(KeyboardInterrupt):
            _write(samples, tmp_path / "excerpt.mp3")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "x"))
    )
    with pytest.raises(RunError, match=r"excerpt\.mp3: cannot be written"):
        _write(np.zeros(22050 * 30, np.float32), tmp_path / "excerpt.mp3")
