import pytest
from benches import assert_reports, run_benchmark
from sklearn.model_selection import train_test_split


@pytest.mark.slow
def test_the_split_is_two_cuts_of_scikit_learn(deam, tmp_path):
    (run,) = run_benchmark("deam-music2emo", deam, tmp_path / "runs", "model.type=mean")
    assert_reports([run])
    names = [*map(str, range(1, 21)), "2001"]
    train, drawn = train_test_split(names, test_size=0.3, random_state=42)
    test, val = train_test_split(drawn, test_size=0.5, random_state=42)
    assert [set(run.split[part]) for part in ("train", "val", "test")] == [set(train), set(val), set(test)]
