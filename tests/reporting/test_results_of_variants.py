"""Results of several experiments and of checks with a few batches, as `musicemo run` prints them."""

from types import SimpleNamespace

import numpy as np
import pytest
from recorded import SETTINGS, regression, truth, write_run

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting.blocks import Facts, Number, Table, Text
from musicemo.reporting.sections.outcomes import combined_blocks, run_blocks
from musicemo.running.execute import Outcome
from musicemo.runs import open_run


def outcomes(runs, name, quality, folds):
    """Write and return the runs of an experiment, one per fold, with a validation score of 0.5."""
    validation = {"valence": {"spearman": {"value": 0.5}}}
    every = []
    for fold in range(folds):
        task = regression(truth(30, fold), quality, fold, first=30 * fold)
        metrics = {"test": Evaluation({"valence": task}).to_json(SETTINGS), "val": validation}
        more = {"metrics": metrics, "durations": {"training": 1.0, "evaluation": 1.0}}
        where = write_run(
            runs,
            name,
            {"valence": task},
            fold=fold if folds > 1 else None,
            part_hash=str(fold),
            folds=folds,
            **more,
        )
        every.append(Outcome(0, fold if folds > 1 else None, where, open_run(where).results))
    return every


def combined(variants):
    experiments = [SimpleNamespace(name=name, evaluation=SETTINGS) for name in variants]
    results = SimpleNamespace(of=lambda experiment: variants[experiment.name])
    return combined_blocks(experiments, results, overfit=False)


def test_folds_are_scored_out_of_fold_with_an_interval(tmp_path):
    variants = {name: outcomes(tmp_path, name, quality, 2) for name, quality in (("a", 1.0), ("b", 0.3))}
    lead, table, looks, facts = combined(variants)
    assert (lead.lead, lead.text[:11]) == ("2 experiments", ", test set.")
    assert isinstance(table, Table)
    first = table.rows[0]
    joined = [regression(truth(30, fold), 1.0, fold, first=30 * fold) for fold in (0, 1)]
    target, prediction = (
        np.concatenate([getattr(one, name) for one in joined]) for name in ("target", "prediction")
    )
    pooled = TaskEvaluation("regression", [str(place) for place in range(60)], target, prediction)
    assert first[:3] == ["a", "2", "valence"]
    assert first[3] == Number(0.5)
    assert first[4].value == pytest.approx(pooled.metric("spearman"))
    assert first[4].low < first[4].value < first[4].high
    assert looks.text == (
        "The best of 2 results on the test set is optimistic. Choose an experiment by its validation score."
    )
    assert isinstance(facts, Facts)
    assert dict(facts.rows)["Tests and intervals"] == f"musicemo compare {tmp_path / 'a'} {tmp_path / 'b'}"


@pytest.mark.parametrize(("other", "argument"), [("b", "a*"), ("a9", "a0 a1 a2 a3 a4 a5 a6")])
def test_many_experiments_are_compared_by_a_pattern_that_matches_only_them(tmp_path, other, argument):
    variants = {f"a{index}": outcomes(tmp_path, f"a{index}", 1.0, 1) for index in range(7)}
    (tmp_path / other).mkdir()
    *_, facts = combined(variants)
    expected = " ".join(str(tmp_path / name) for name in argument.split())
    assert dict(facts.rows)["Tests and intervals"] == f"musicemo compare {expected}"


def test_folds_of_one_experiment_end_with_their_folder(tmp_path):
    *_, facts = combined({"a": outcomes(tmp_path, "a", 1.0, 2)})
    assert dict(facts.rows) == {
        "Run directories": str(tmp_path / "a"),
        "Report": f"musicemo report {tmp_path / 'a'}",
    }


@pytest.mark.parametrize(("quality", "text"), [(0.01, "Memorized: "), (3.0, "Not memorized: valence (")])
def test_a_check_with_a_few_batches_is_judged(tmp_path, quality, text):
    (outcome,) = outcomes(tmp_path, "a", 1.0, 1)
    target = truth(30)
    prediction = target + quality * np.random.default_rng(1).normal(size=30)
    task = TaskEvaluation("regression", [str(place) for place in range(30)], target, prediction)
    outcome.results["metrics"] = {"test": Evaluation({"valence": task}).to_json(SETTINGS)}
    texts = [block.text for block in run_blocks(outcome, overfit=True) if isinstance(block, Text)]
    assert any(one.startswith(text) for one in texts)
