import pytest
from benches import assert_reports, run_benchmark
from songs import write_song, write_text


@pytest.mark.slow
def test_quadrants_and_their_halves(tmp_path):
    root = tmp_path / "EMOPIA"
    for part, numbers in (("train", range(8)), ("val", range(8, 12)), ("test", range(12, 20))):
        clips = [f"Q{1 + number % 4}_song{number}_0" for number in numbers]
        for clip in clips:
            write_song(root / f"audios/seg/{clip}.mp3", int(clip[7:-2]))
        write_text(
            root / f"split/{part}.csv", "fname,label\n" + "".join(f"{clip},{clip[:2]}\n" for clip in clips)
        )
    (run,) = run_benchmark("emopia", root, tmp_path / "runs", "features.grid=track")
    entry = assert_reports([run])
    assert entry["sets"]["test"] == {"tracks": 8, "expected": 86, "same": False}
    assert list(entry["metrics"]) == ["quadrant", "arousal_class", "valence_class"]
