"""Sections on noise ceilings, scores within genres and calibration, from what computes them."""

import numpy as np

from musicemo.evaluation import (
    EvaluationSettings,
    TaskEvaluation,
    calibration_report,
    controlled_scores,
    fit_calibration,
    group_means,
    rating_reliability,
)

SETTINGS = EvaluationSettings(resamples=100)
COUNT = 30
RANDOM = np.random.default_rng(0)
TARGET = RANDOM.uniform(1, 9, COUNT)
IDS = [f"t{index}" for index in range(COUNT)]
TASK = TaskEvaluation("regression", IDS, TARGET, 0.4 * TARGET + RANDOM.normal(size=COUNT))
GENRES = {name: ("folk", "jazz")[index % 2] for index, name in enumerate(IDS)}


def test_the_ceiling_of_the_ratings_and_the_share_of_it(read):
    ratings = [(value + RANDOM.normal(size=7)).tolist() for value in TARGET]
    reliability = rating_reliability(ratings, SETTINGS)
    table = reliability.to_json()
    table["spearman"]["reached"] = {"test": {"value": 0.512, "low": 0.25, "high": 0.75}}
    page = read(reliability={"valence": table})
    assert "Noise ceiling" in page.texts["h2"]
    rho = table["spearman"]
    for text in (f"{rho['reliability']['value']:.3f}", f"{rho['ceiling']:.3f}", "51 %", "[25, 75]"):
        assert text in page.text
    assert "7 to 7" not in page.text
    assert "{" not in page.text


def test_what_is_left_beyond_the_genre(read):
    alone = group_means(GENRES, [("folk", 3.0), ("jazz", 6.0)])
    scores = controlled_scores([TASK], GENRES, alone, SETTINGS)
    page = read(controlled={"by": "genre", "parts": {"test": {"valence": scores}}})
    assert "Beyond the genre" in page.texts["h2"]
    for text in (f"{scores['within']['value']:.3f}", f"{scores['group_alone']['value']:.3f}".replace("-", "−")):
        assert text in page.text
    assert "folk, 15 tracks" in page.text
    assert f"{scores['groups']['jazz']['spearman']:.3f}".replace("-", "−") in page.text


def test_calibration_before_and_after(read):
    changes = calibration_report(TASK, fit_calibration(TASK, "affine"))
    tasks = {"valence": {"parts": {"test": changes}}, "energy": {"skipped": "there is no validation part"}}
    page = read(calibration={"method": "affine", "tasks": tasks})
    assert "Calibration" in page.texts["h2"]
    assert f"{changes['rmse']['before']:.3f} → {changes['rmse']['after']:.3f}" in page.text
    assert "energy is not calibrated: there is no validation part." in page.text


def test_another_part_than_the_reports_is_left_out(read):
    scores = controlled_scores([TASK], GENRES, dict.fromkeys(GENRES, 1.0), SETTINGS)
    assert (
        "Beyond the genre"
        not in read(controlled={"by": "genre", "parts": {"val": {"valence": scores}}}).texts["h2"]
    )
