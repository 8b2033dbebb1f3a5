"""The local page: what it answers, and what it refuses."""

import json
import os
import re
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest

from musicemo.evaluation import TaskEvaluation
from musicemo.listening import HeldOut, server
from musicemo.listening import songs as songs_module
from musicemo.listening.plane import course_chart, default_emotions


def states_of(client):
    return client.get("/songs").json()["songs"]


def settled(client):
    """Return the states of the songs when no song waits or is analyzed."""
    until = time.monotonic() + 60
    while True:
        states = states_of(client)
        if all(one["state"] not in ("waiting", "working") for one in states):
            return states
        assert time.monotonic() < until
        time.sleep(0.005)


def upload(client, name="song.mp3", content=b"music"):
    return client.post("/songs", params={"name": name}, content=content)


def test_an_uploaded_song_is_analyzed_and_shown(client):
    assert upload(client, "Übung <1>.mp3").status_code == 202
    (song,) = settled(client)
    assert (song["title"], song["state"], song["error"]) == ("Übung <1>.mp3", "done", "")
    text = client.get("/songs/1").text
    for part in ("Übung &lt;1&gt;.mp3", "0.62", "0.50 to 0.74", "rock &amp; roll", "90 %", "1,000", "a note"):
        assert part in text
    assert 'class="line c0" d="M250.0 ' in text  # the middle of the first window, 1 s of 4 s
    answer = client.get("/songs/1/audio.wav", headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, b"RIFF")
    assert client.get("/songs/1/spectrogram.png").headers["content-type"] == "image/png"
    assert client.delete("/songs/1").status_code == 200
    assert client.get("/songs/1").status_code == 404


def test_the_error_of_moments_is_a_band_around_the_curve_and_is_said_to_be_unknown_without_it(client, listener):
    upload(client, "a.mp3")
    settled(client)
    text = client.get("/songs/1").text
    assert "The error of single moments is unknown, because the dataset rates tracks as a whole." in text
    assert "The band around the curve" not in text
    rating = listener.listen
    listener.listen = lambda *args: changed(rating(*args))
    upload(client, "b.mp3")
    settled(client)
    text = client.get("/songs/2").text
    assert "The band around the curve of valence is the prediction minus and plus the error" in text
    band = re.search('<path class="band" d="M([^z]+)z"', text)[1].split("L")
    # 0.6 and 0.8 at 1 and 3 of 4 s, each plus and minus 0.25, within the scale from 0 to 1
    assert band == ["250.0 15.0", "750.0 0.0", "750.0 45.0", "250.0 65.0"]


def changed(heard):
    first, *others = heard.ratings
    return replace(
        heard, ratings=[replace(first, kind="series", curve=np.array([0.6, 0.8]), moment=0.25), *others]
    )


def test_the_page_escapes_names_and_runs_its_script_only(client):
    answer = client.get("/")
    assert "&lt;b&gt;mine&lt;/b&gt;" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]
    for name in ("/", "/songs", "/songs/1"):
        headers = client.get(name).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:9", "127.0.0.1.evil.example:8000", ""]
)
def test_a_request_under_another_name_is_refused(client, host):
    assert client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_a_page_of_another_site_changes_nothing(client, headers):
    answer = client.post("/songs?name=x.mp3", content=b"music", headers=headers)
    assert answer.status_code == 403
    assert states_of(client) == []
    assert (
        client.post("/songs?name=x.mp3", content=b"x", headers={"origin": "http://127.0.0.1:8000"}).status_code
        == 202
    )


def test_a_bad_file_is_an_error_on_the_page(client, tmp_path):
    upload(client, "broken.mp3", b"bad")
    (song,) = settled(client)
    assert (song["state"], song["error"]) == ("failed", "is not audio")
    assert str(tmp_path) not in song["error"]
    assert upload(client, content=b"").status_code == 400


def test_an_upload_is_bounded_whether_or_not_its_length_is_declared(client, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "LARGEST", 10)
    assert upload(client, content=b"x" * 11).status_code == 413
    assert client.post("/songs?name=x.mp3", content=iter([b"x" * 6, b"x" * 6])).status_code == 413
    assert states_of(client) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\x.py", "a/b/.bashrc", "x.php", ""])
def test_the_name_of_an_upload_is_no_path(client, songs, tmp_path, name):
    upload(client, name)
    settled(client)
    path = songs.get(1).path
    assert path.parent.parent == tmp_path
    assert path.name == "upload"


def test_one_song_is_analyzed_at_a_time_and_only_some_wait(client, listener, monkeypatch):
    monkeypatch.setattr(songs_module, "_WAITING", 2)
    listener.let.clear()
    answers = [upload(client, f"{number}.mp3") for number in range(2)]
    until = time.monotonic() + 60
    while states_of(client)[0]["step"] != "predicting" and time.monotonic() < until:
        time.sleep(0.005)
    answers += [upload(client, f"{number}.mp3") for number in range(2, 5)]
    assert [one.status_code for one in answers] == [202, 202, 202, 429, 429]
    assert [one["state"] for one in states_of(client)] == ["working", "waiting", "waiting"]
    listener.let.set()
    assert {one["state"] for one in settled(client)} == {"done"}
    assert (listener.titles, listener.most) == (["0.mp3", "1.mp3", "2.mp3"], 1)


def test_the_songs_that_were_analyzed_first_are_dropped(client, songs, tmp_path, monkeypatch):
    monkeypatch.setattr(songs_module, "_KEPT", 1)
    (tmp_path / "kept.mp3").write_bytes(b"music")
    songs.add_files([tmp_path / "kept.mp3"])
    assert client.post("/songs/1").status_code == 202
    settled(client)
    upload(client, "new.mp3")
    settled(client)
    upload(client, "newer.mp3")
    until = time.monotonic() + 60
    while (len(states_of(client)) > 2 or (tmp_path / "2").exists()) and time.monotonic() < until:
        time.sleep(0.005)
    assert [(one["title"], one["state"]) for one in settled(client)] == [
        ("kept.mp3", "listed"),
        ("newer.mp3", "done"),
    ]
    assert (tmp_path / "kept.mp3").exists()  # a file of the user stays
    assert not (tmp_path / "2").exists()


def test_tracks_of_the_dataset_are_searched_and_opened_once(client):
    assert client.get("/tracks?q=ROCK").json() == ["rock/1"]
    assert client.post("/tracks?id=nothing").status_code == 404
    for _ in range(2):
        assert client.post("/tracks?id=jazz/2").status_code == 202
    (song,) = settled(client)
    assert (song["title"], song["state"]) == ("jazz/2", "done")


def test_the_course_in_the_plane_of_any_two_emotions_follows_the_player(client):
    upload(client)
    settled(client)
    assert 'aria-label="Emotion on the x axis"' in client.get("/songs/1").text
    plane = client.get("/songs/1/plane?x=energy&y=valence").text
    assert "energy (0 to 1)" in plane
    times = json.loads(re.search(r'class="cursor" r="6" data-times="([^"]*)"', plane)[1])
    assert times == [0, 0, 4, 4]  # energy has values at both ends of the song
    assert client.get("/songs/1/plane?x=energy&y=anger").status_code == 404


def test_a_course_has_the_other_emotion_at_the_same_times(listener, tmp_path):
    (tmp_path / "song.mp3").write_bytes(b"music")
    heard = listener.listen(tmp_path / "song.mp3", "song", tmp_path, None, lambda _: None)
    ids = [f"t{place}" for place in range(5)]
    held_out = HeldOut(
        "in the test set",
        {
            name: [TaskEvaluation("regression", ids, np.arange(5.0), np.arange(5.0) / 10)]
            for name in ("valence", "energy")
        },
    )
    chart = course_chart(heard, held_out, "valence", "energy")
    line = next(mark for mark in chart.marks if getattr(mark, "label", "") == "over time")
    assert (list(line.x), list(line.y)) == ([0.6, 0.7], [0.25, 0.75])  # at 1 s and 3 s of 4 s
    others = next(mark for mark in chart.marks if getattr(mark, "label", "").startswith("held-out"))
    assert (list(others.titles), list(others.x)) == (ids, pytest.approx([0, 0.1, 0.2, 0.3, 0.4]))
    assert default_emotions(heard, held_out) == ("valence", "energy")
    assert default_emotions(replace(heard, ratings=heard.ratings[:1]), held_out) is None


def test_songs_wait_for_the_dataset_that_says_which_runs_know_them(client, songs):
    songs.ready.clear()
    upload(client)
    assert client.post("/tracks?id=rock/1").json() == {"error": "the run's dataset is still being read."}
    assert client.get("/tracks").json() == []
    until = time.monotonic() + 60
    while states_of(client)[0]["step"] != "waiting for the dataset" and time.monotonic() < until:
        time.sleep(0.005)
    assert client.get("/songs").json()["dataset"] == {"ready": False, "tracks": 0, "silence": ""}
    songs.ready.set()
    assert settled(client)[0]["state"] == "done"
    assert client.get("/songs").json()["dataset"]["tracks"] == 2


def test_the_folders_of_killed_processes_are_removed(tmp_path):
    killed = subprocess.Popen(["true"])
    killed.wait()
    names = {
        "killed": f"musicemo-listen-{killed.pid}-abc",
        "ours": f"musicemo-listen-{os.getpid()}-abc",
        "first": "musicemo-listen-1-abc",
        "earlier": "musicemo-listen-abc_def",
        "other": f"musicemo-workers-{killed.pid}-abc",
        "odd": f"musicemo-listen-{10**30}-abc",
    }
    for name in names.values():
        (tmp_path / name / "1").mkdir(parents=True)
    server._remove_stale(tmp_path)
    assert {name for name, folder in names.items() if not (tmp_path / folder).exists()} == {"killed"}
