"""Ceilings and genre-controlled scores of folds and seeds as one."""

import numpy as np
import pytest
from recorded import CLASSES, SETTINGS, write_run
from scipy import stats

from musicemo.comparison import analyse_replicates, compare, read_replicates
from musicemo.evaluation import TaskEvaluation, controlled_scores, group_means

KINDS = {
    "valence": {"kind": "regression", "target": "valence", "range": [1, 9]},
}
COUNT = 60
CODES = np.arange(COUNT) % 3
OWN = np.random.default_rng(0).normal(size=COUNT)
TARGET = 3.0 * CODES + OWN
CONTROL = SETTINGS.model_copy(update={"control": "genre"})


def tasks(places, prediction):
    ids = [f"track{place:02d}" for place in places]
    return {
        "valence": TaskEvaluation("regression", ids, TARGET[places], prediction[places]),
    }


def controlled(test, train, prediction):
    """Return what a run records of the scores within genres."""
    groups = {f"track{place:02d}": CLASSES[CODES[place]] for place in test}
    alone = group_means(groups, [(CLASSES[CODES[place]], float(TARGET[place])) for place in train])
    scores = controlled_scores([tasks(test, prediction)["valence"]], groups, alone, SETTINGS)
    return {"by": "genre", "parts": {"test": {"valence": scores}}, "labels": {"test": groups}}


def read(runs, predictions, **more):
    """Write two folds a seed, one prediction a seed, and read them."""
    for seed, prediction in enumerate(predictions):
        for fold in (0, 1):
            test, train = np.arange(COUNT)[fold::2], np.arange(COUNT)[1 - fold :: 2]
            write_run(
                runs,
                "folded",
                tasks(test, prediction),
                seed=seed,
                fold=fold,
                kinds=KINDS,
                controlled=controlled(test, train, prediction),
                **more,
            )
    found = read_replicates(runs / "folded")
    return found, compare([found], metrics=("spearman", "pearson"), settings=SETTINGS).rows


def test_scores_within_genres_are_of_all_folds_as_one(tmp_path):
    noisy = TARGET + np.random.default_rng(1).normal(size=COUNT)
    found = analyse_replicates(*read(tmp_path, [noisy]), CONTROL)["controlled"]
    assert found["by"] == "genre"
    scores = found["parts"]["test"]["valence"]
    assert scores["tracks"] == COUNT
    assert scores["spearman"]["value"] == pytest.approx(stats.spearmanr(noisy, TARGET).statistic)
    alone = np.empty(COUNT)
    for fold in (0, 1):  # each fold's songs have the means of the other's
        for code in range(3):
            here, there = (
                np.flatnonzero((np.arange(COUNT) % 2 == side) & (code == CODES)) for side in (fold, 1 - fold)
            )
            alone[here] = TARGET[there].mean()
    assert scores["group_alone"]["value"] == pytest.approx(stats.spearmanr(alone, TARGET).statistic)
    of_genres = [stats.spearmanr(noisy[code == CODES], TARGET[code == CODES]).statistic for code in range(3)]
    assert scores["within"]["value"] == pytest.approx(np.mean(of_genres))
    assert scores["groups"]["folk"]["tracks"] == COUNT // 3


def test_seeds_are_averaged(tmp_path):
    first, second = OWN + 0.0 * TARGET, 1.0 * CODES
    both = analyse_replicates(*read(tmp_path / "both", [first, second]), CONTROL)
    one = analyse_replicates(*read(tmp_path / "one", [first]), CONTROL)
    within, of_first = (
        found["controlled"]["parts"]["test"]["valence"]["within"]["value"] for found in (both, one)
    )
    assert of_first == pytest.approx(1)
    assert within == pytest.approx(0.5)  # the second hears the genre alone


def test_the_share_of_the_ceiling_is_of_all_folds_as_one(tmp_path):
    known = {
        "reliability": {"value": 0.6, "low": 0.5, "high": 0.7},
        "ceiling": 0.8,
        "reached": {"test": {"value": 9}},
    }
    more = {"reliability": {"valence": {"tracks": 60, "spearman": known, "pearson": known}}}
    noisy = TARGET + 3 * np.random.default_rng(1).normal(size=COUNT)
    found = analyse_replicates(*read(tmp_path, [noisy], **more), SETTINGS)
    assert list(found) == ["reliability"]
    table = found["reliability"]["valence"]["spearman"]
    assert table["ceiling"] == 0.8
    assert table["reached"]["test"]["value"] == pytest.approx(stats.spearmanr(noisy, TARGET).statistic / 0.8)
    assert table["reached"]["test"]["low"] < table["reached"]["test"]["value"]


def test_ratings_that_agree_on_nothing_have_no_ceiling(tmp_path):
    known = {"reliability": {"value": -0.1, "low": -0.5, "high": 0.7}, "ceiling": None, "reached": {}}
    more = {"reliability": {"valence": {"tracks": 60, "spearman": known, "pearson": known}}}
    found = analyse_replicates(*read(tmp_path, [TARGET], **more), SETTINGS)
    reached = found["reliability"]["valence"]["spearman"]["reached"]["test"]
    assert reached == {"value": None, "low": None, "high": None}


def test_another_target_cannot_be_controlled_for_afterwards(tmp_path):
    settings = SETTINGS.model_copy(update={"control": "country"})
    assert analyse_replicates(*read(tmp_path, [TARGET]), settings) == {}


def test_calibration_is_a_mean_over_the_runs(tmp_path):
    changes = {"rmse": {"before": 2.0, "after": 1.0}, "ccc": {"before": None, "after": 0.5}}
    more = {
        "calibration": {
            "method": "affine",
            "tasks": {"valence": {"map": {}, "parts": {"test": changes}}, "energy": {"skipped": "too few"}},
        }
    }
    found = analyse_replicates(*read(tmp_path, [TARGET], **more), SETTINGS)["calibration"]
    assert found["method"] == "affine"
    assert found["tasks"]["valence"]["parts"]["test"] == changes
    assert found["tasks"]["energy"] == {"skipped": "too few"}
