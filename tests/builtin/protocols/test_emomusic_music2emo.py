import pytest
from benches import assert_reports, run_benchmark


@pytest.mark.slow
def test_other_segments_are_a_departure(emomusic, tmp_path):
    overrides = ["model.type=mean", "features.segment=10.0"]
    (run,) = run_benchmark("emomusic-music2emo", emomusic, tmp_path / "runs", *overrides)
    entry = assert_reports([run])
    assert entry["published"][-1]["caveat"].startswith("98 of the 125 test clips")
    assert entry["departures"][3:] == ["features.segment is 10.0, and 30.0 in the protocol"]
