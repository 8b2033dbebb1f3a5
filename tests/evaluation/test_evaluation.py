import json
import subprocess
import sys

import numpy as np
import pytest

from musicemo.evaluation import (
    CLASSIFICATION,
    REGRESSION,
    Evaluation,
    EvaluationSettings,
    TaskEvaluation,
    finite,
)
from musicemo.reporting import task_figure

SETTINGS = EvaluationSettings(resamples=100)
CLASSES = ("folk", "jazz", "pop")


def regression_task(prediction, target) -> TaskEvaluation:
    ids = [f"t{index}" for index in range(len(target))]
    return TaskEvaluation("regression", ids, np.array(target, float), np.array(prediction, float))


def classification_task(prediction, target) -> TaskEvaluation:
    ids = [f"t{index}" for index in range(len(target))]
    return TaskEvaluation("classification", ids, np.array(target, int), np.array(prediction, int), CLASSES)


CASES = {
    "usual": regression_task([1, 2, 4, 3], [1, 2, 3, 4]),
    "constant prediction": regression_task([1, 1, 1], [1, 2, 3]),
    "constant target": regression_task([1, 2, 3], [1, 1, 1]),
    "two tracks": regression_task([1, 2], [1, 3]),
    "one track": regression_task([1], [2]),
    "no track": regression_task([], []),
    "prediction not finite": regression_task([1, np.inf, np.nan], [1, 2, 3]),
    "classes": classification_task([0, 1, 2, 0], [0, 1, 1, 2]),
    "one class": classification_task([0, 0], [0, 0]),
    "one labelled track": classification_task([0], [1]),
    "no labelled track": classification_task([], []),
}


@pytest.mark.parametrize("task", CASES.values(), ids=CASES)
def test_json_has_every_metric_and_no_nan(task):
    found = Evaluation({"task": task}).to_json(SETTINGS)["task"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["tracks"] == len(task.target)
    for name in REGRESSION if task.kind == "regression" else CLASSIFICATION:
        assert set(found[name]) == {"value", "low", "high"}
    if len(task.target) < 2:
        assert all(found[name]["low"] is None for name in task.names)


def test_json_of_a_regression():
    found = CASES["constant target"].to_json(SETTINGS)
    assert found["spearman"] == {"value": None, "low": None, "high": None}
    assert found["mae"]["value"] == pytest.approx(1)


def test_json_of_a_classification():
    found = CASES["classes"].to_json(SETTINGS)
    assert found["accuracy"]["value"] == 0.5
    assert found["accuracy"]["low"] <= 0.5 <= found["accuracy"]["high"]
    assert found["per_class"]["jazz"] == {
        "precision": 1,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    assert found["confusion_matrix"] == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]


def test_tasks_together_have_the_intervals_that_each_has():
    random = np.random.default_rng(0)
    target = random.integers(1, 9, size=40)
    tasks = {
        "valence": regression_task(target + random.normal(size=40), target),
        "arousal": regression_task(random.normal(size=40), target),
        "genre": classification_task(random.integers(3, size=40), target % 3),
        "few": regression_task(target[:7] + random.normal(size=7), target[:7]),
        "none": regression_task([], []),
    }
    found = Evaluation(tasks).to_json(SETTINGS)
    assert found == {name: task.to_json(SETTINGS) for name, task in tasks.items()}
    assert list(found) == list(tasks)


def test_intervals_are_computed_once(monkeypatch):
    evaluation = Evaluation({"task": CASES["usual"]})
    first = evaluation.to_json(SETTINGS)
    monkeypatch.setattr("musicemo.evaluation.evaluation.draw_counts", None)
    assert evaluation.to_json(SETTINGS) == first


@pytest.mark.parametrize("name", ["usual", "classes", "one track", "no track"])
def test_without_intervals_both_bounds_are_null(name):
    task = CASES[name]
    with_intervals, without = (
        Evaluation({"task": task}).to_json(SETTINGS, intervals=wanted)["task"] for wanted in (True, False)
    )
    assert list(without) == list(with_intervals)
    for metric in task.names:
        assert without[metric] == {**with_intervals[metric], "low": None, "high": None}


def test_finite():
    assert finite(0.5) == 0.5
    assert finite(float("nan")) is None
    assert finite(float("inf")) is None


@pytest.mark.slow
@pytest.mark.parametrize("task", CASES.values(), ids=CASES)
def test_figures_are_drawn(task, tmp_path):
    figure = task_figure("mood", "test", task)
    figure.savefig(tmp_path / "figure.png", dpi=40)
    (axes, *_) = figure.axes
    assert axes.get_title().startswith(f"mood\ntest set, {len(task.target)} track")
    if task.kind == "regression":
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("true mood", "predicted mood")
        assert axes.get_xlim() == axes.get_ylim()
    else:
        assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
        assert sum(int(text.get_text()) for text in axes.texts) == len(task.target)


@pytest.mark.slow
def test_figures_need_no_pyplot():
    code = """if True:
        import sys
        import numpy as np
        from musicemo.evaluation import TaskEvaluation
        from musicemo.reporting import task_figure
        assert "matplotlib" not in sys.modules, "drawing alone imports it"
        task_figure("v", "test", TaskEvaluation("regression", ["a", "b"], np.ones(2), np.ones(2)))
        assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
