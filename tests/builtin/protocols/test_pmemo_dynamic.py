import pytest
from benches import assert_reports, run_benchmark
from sklearn.utils import shuffle


@pytest.mark.slow
def test_the_test_songs_are_those_of_the_authors_rule(pmemo_over_time, tmp_path):
    (run,) = run_benchmark("pmemo-dynamic", pmemo_over_time, tmp_path / "runs", "model.hidden=4")
    entry = assert_reports([run])
    assert set(run.split["test"]) == set(shuffle([str(number) for number in range(1, 21)], random_state=3)[:2])
    assert entry["sets"]["train"]["tracks"] == 18, (
        "the protocol has no validation set: these tracks are its training set"
    )
    metrics = run.metrics["test"]["arousal_over_time"]
    assert metrics["pooled_rmse"]["value"] > 0
