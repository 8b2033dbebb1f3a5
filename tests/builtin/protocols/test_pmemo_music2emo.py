import pytest
from benches import assert_reports, run_benchmark


@pytest.mark.slow
def test_its_sets_are_compared_with_the_published_ones(pmemo, tmp_path):
    (run,) = run_benchmark("pmemo-music2emo", pmemo, tmp_path / "runs", "model.type=mean")
    sets = assert_reports([run])["sets"]
    assert {part: (one["tracks"], one["expected"], one["same"]) for part, one in sets.items()} == {
        "train": (14, 536, False),
        "val": (3, 116, False),
        "test": (3, 115, False),
    }
