import pytest
from benches import assert_reports, run_benchmark, text_of
from complaints import warns

from musicemo.reporting.sections.protocol import protocol_section


@pytest.mark.slow
def test_ratings_over_time_with_the_development_set_of_a_file(deam_over_time, tmp_path):
    file = tmp_path / "development.txt"
    file.write_text("\n".join(map(str, range(1, 13))))
    overrides = ["model.hidden=4", f"dataset.development={file}"]
    with warns("has 12 excerpts; the development set of MediaEval 2015 had 431"):
        (run,) = run_benchmark("deam-dynamic", deam_over_time, tmp_path / "runs", *overrides)
    entry = assert_reports([run])
    assert entry["sets"] == {
        "train": {"tracks": 12, "expected": 431, "same": False},
        "test": {"tracks": 1, "expected": 58, "same": False},
    }
    text = text_of(protocol_section([run]).blocks)
    assert "0.613 ± 0.278" in text
    assert "± is the standard deviation over the songs" in text
