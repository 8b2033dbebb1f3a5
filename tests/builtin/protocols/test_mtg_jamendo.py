import pytest
from benches import assert_reports, run_benchmark
from songs import write_song, write_text

TAGS = ("dark", "film", "happy")


@pytest.mark.slow
def test_the_tags_of_mood_and_theme(tmp_path):
    root = tmp_path / "mtg"
    for part, numbers in (("train", range(10)), ("validation", range(10, 14)), ("test", range(14, 20))):
        lines = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
        for number in numbers:
            write_song(root / f"audio/00/{number}.mp3", number)
            tag = f"mood/theme---{TAGS[number % 3]}"
            lines.append(f"track_{number:07d}\tartist_{number}\talbum_1\t00/{number}.mp3\t0.5\t{tag}")
        write_text(root / f"data/splits/split-0/autotagging_moodtheme-{part}.tsv", "\n".join(lines) + "\n")
    (run,) = run_benchmark("mtg-jamendo", root, tmp_path / "runs")
    entry = assert_reports([run])
    assert entry["sets"]["test"] == {"tracks": 6, "expected": 4231, "same": False}
    assert run.metrics["test"]["moodtheme"]["roc_auc"]["value"] is not None
