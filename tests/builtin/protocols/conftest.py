"""Tiny copies of the layouts of published datasets."""

import shutil
from pathlib import Path

import pytest
from benches import Loudness
from songs import write_song, write_text


@pytest.fixture(autouse=True)
def extractor(fakes_beside) -> None:
    """Register an extractor that takes no time."""
    fakes_beside("features", "loudness", Loudness)


@pytest.fixture
def emomusic(tmp_path: Path) -> Path:
    root = tmp_path / "emomusic"
    ratings = ["song_id,mean_arousal,std_arousal,mean_valence,std_valence"]
    songs = ["song_id,file_name,Artist,Song title,start,end,Genre,Mediaeval 2013 set"]
    for number in range(20):
        write_song(root / f"clips_45seconds/{number + 2}.mp3", number)
        ratings.append(f"{number + 2},{1.5 + number % 7},0.9,{1.2 + 3 * number % 7},0.6")
        part = "evaluation" if number % 4 == 0 else "development"
        songs.append(
            f"{number + 2},{number + 2}.mp3,{'abcdef'[number % 6].upper()}!\t,One,1.1,1.46,Rock,{part}"
        )
    write_text(root / "annotations/static_annotations.csv", "\n".join(ratings) + "\n")
    write_text(root / "annotations/songs_info.csv", "\n".join(songs) + "\n")
    return root


@pytest.fixture
def deam(tmp_path: Path) -> Path:
    root = tmp_path / "deam"
    lines = ["song_id, valence_mean, valence_std, arousal_mean, arousal_std"]
    for number in (*range(1, 21), 2001):
        write_song(root / f"MEMD_audio/{number}.mp3", number)
        lines.append(f"{number},{1.5 + number % 7},0.9,{1.2 + 3 * number % 7},0.6")
    folder = root / "annotations/annotations averaged per song/song_level"
    write_text(folder / "static_annotations_averaged_songs_1_2000.csv", "\n".join(lines[:-1]) + "\n")
    write_text(folder / "static_annotations_averaged_songs_2000_2058.csv", f"{lines[0]}\n{lines[-1]}\n")
    return root


def lengthen(folder: Path) -> None:
    """Make the songs in a folder long enough for ratings from 15 s on; one song is encoded, for all."""
    first, *others = sorted(folder.iterdir())
    write_song(first, seconds=18.0)
    for song in others:
        shutil.copy(first, song)


@pytest.fixture
def deam_over_time(deam: Path) -> Path:
    """Return the copy of DEAM with longer songs and their ratings from 15 s on."""
    times = ",".join(f"sample_{15000 + 500 * place}ms" for place in range(6))
    for name, slope in (("arousal", 0.1), ("valence", -0.05)):
        lines = [f"song_id,{times}"]
        for number in (*range(1, 21), 2001):
            values = (slope * place * (-1) ** number + number % 3 / 10 for place in range(6))
            lines.append(f"{number},{','.join(f'{value:.3f}' for value in values)}")
        folder = deam / "annotations/annotations averaged per song/dynamic (per second annotations)"
        write_text(folder / f"{name}.csv", "\n".join(lines) + "\n")
    lengthen(deam / "MEMD_audio")
    return deam


@pytest.fixture
def pmemo_over_time(pmemo: Path) -> Path:
    """Return the copy of PMEmo with longer choruses and their ratings from 15.5 s on."""
    lines = ["musicId,frameTime,Arousal(mean),Valence(mean)"]
    for number in range(1, 21):
        lines += [f"{number},{15.5 + place / 2},{0.1 * place},{0.9 - 0.02 * number}" for place in range(4)]
    write_text(pmemo / "annotations/dynamic_annotations.csv", "\n".join(lines) + "\n")
    lengthen(pmemo / "chorus")
    return pmemo


@pytest.fixture
def pmemo(tmp_path: Path) -> Path:
    root = tmp_path / "PMEmo2019"
    ratings = ["musicId,Arousal(mean),Valence(mean)"]
    songs = ["musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time"]
    for number in range(1, 21):
        write_song(root / f"chorus/{number}.mp3", number)
        ratings.append(f"{number},{0.1 + number % 7 / 10},{0.2 + 3 * number % 7 / 10}")
        songs.append(f"{number},{number}.mp3,Song,Artist {number % 6},,30,02:28,03:00")
    write_text(root / "annotations/static_annotations.csv", "\n".join(ratings) + "\n")
    write_text(root / "metadata.csv", "\n".join(songs) + "\n")
    return root
