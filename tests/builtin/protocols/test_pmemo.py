import numpy as np
import pytest
from benches import assert_reports, run_benchmark, text_of
from complaints import warns
from sklearn.model_selection import KFold

from musicemo.reporting.sections.protocol import result_blocks


@pytest.mark.slow
def test_ten_folds_in_order_whose_errors_are_averaged(pmemo, tmp_path):
    runs = run_benchmark("pmemo", pmemo, tmp_path / "runs", "model.type=mean")
    assert_reports(runs)
    folds = [[str(1 + place) for place in test] for _, test in KFold(10).split(np.zeros(20))]
    assert [run.split["test"] for run in runs] == folds
    mean = np.mean([run.metrics["test"]["valence"]["rmse"]["value"] for run in runs])
    text = text_of(result_blocks([("ours", runs)]))
    row = next(line for line in text.splitlines() if line.startswith("ours"))
    assert row.split()[2] == f"{mean:.3f}"
    assert "A lower RMSE is better" in text
    with warns("4 of 10 folds"):
        some = text_of(result_blocks([("ours", runs[:4])]))
    assert "it has 4 of 10 folds" in some
