import pytest
from benches import assert_reports, run_benchmark
from complaints import warns

#: The only artists of the copy whose names' SHA-1 is 8 or 9 modulo 10.
HELD_OUT = {"d", "f"}


@pytest.mark.slow
def test_marbles_probe_with_the_validation_set_of_jukemir(emomusic, tmp_path):
    (run,) = run_benchmark("emomusic", emomusic, tmp_path / "runs")
    entry = assert_reports([run])
    assert {part: one["expected"] for part, one in entry["sets"].items()} == {
        "train": 504,
        "val": 115,
        "test": 125,
    }
    numbers = {part: [int(name) - 2 for name in run.split[part]] for part in ("train", "val", "test")}
    assert sorted(numbers["test"]) == [0, 4, 8, 12, 16]
    assert {"abcdef"[number % 6] for number in numbers["val"]} == HELD_OUT
    assert not {"abcdef"[number % 6] for number in numbers["train"]} & HELD_OUT
    assert run.read_experiment()["features"]["segment"] == 15.0
    assert len(entry["departures"]) == 3, "only its three sets are not the published ones"


@pytest.mark.slow
def test_weights_that_have_seen_the_songs_are_a_departure(emomusic, tmp_path):
    overrides = ["model.type=mean", "features.pretrained_on=['FMA']"]
    with warns("their weights have seen fma"):
        (run,) = run_benchmark("emomusic", emomusic, tmp_path / "runs", *overrides)
    (text,) = run.results["protocol"]["departures"][3:]
    assert text == "features 'loudness': their weights have seen fma, from which the dataset's songs are drawn"
    overrides = ["model.type=mean", "features.pretrained_on=[]", "name=undeclared"]
    (run,) = run_benchmark("emomusic", emomusic, tmp_path / "runs", *overrides)
    (text,) = run.results["protocol"]["departures"][3:]
    assert "which corpora their weights have seen is not declared" in text
