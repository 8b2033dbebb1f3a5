import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from recorded import SETTINGS, classification, regression, truth, write_experiment, write_run
from scipy import stats

from musicemo.comparison import compare, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import EvaluationSettings, TaskEvaluation
from musicemo.reporting.sections.comparison import notes, verdicts
from musicemo.reporting.tabular import comparison_json


@pytest.fixture
def runs(tmp_path):
    """Return experiments `poor` and `good`, of three seeds and two tasks, and `single`, of one of the tasks."""
    write_experiment(tmp_path, "poor", {"energy": 0.6, "valence": 0.5})
    write_experiment(tmp_path, "good", {"energy": 0.7, "valence": 5.0})
    write_experiment(tmp_path, "single", {"energy": 0.6}, seeds=[0])
    return tmp_path


def read(runs, *names):
    return [read_replicates(runs / name) for name in names]


def row_of(comparison, task, metric="spearman"):
    (row,) = (
        row for row in (*comparison.rows, *comparison.averages) if (row.task, row.metric) == (task, metric)
    )
    return row


def test_means_and_deviations_are_those_over_seeds(runs):
    (poor,) = read(runs, "poor")
    (score,) = row_of(compare([poor]), "valence").scores
    values = [
        stats.spearmanr(task.prediction, task.target).statistic
        for task in (one.evaluation.tasks["valence"] for one in poor.per_seed)
    ]
    assert score.values == pytest.approx(values)
    assert (score.mean, score.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (score.seeds_low, score.seeds_high) == pytest.approx(expected)
    assert score.low < score.mean < score.high
    assert score.difference is None
    assert row_of(compare([poor]), "valence").baseline == ""


def test_a_difference_that_is_there_is_found(runs):
    found = compare(read(runs, "poor", "good"), settings=SETTINGS)
    (poor, good) = row_of(found, "valence").scores
    assert poor.difference is None
    assert good.difference.baseline == "poor"
    assert good.difference.value == pytest.approx(good.mean - poor.mean)
    assert good.difference.low > 0
    assert good.difference.corrected < 0.001
    assert good.difference.paired
    assert row_of(found, "energy").scores[1].difference.corrected > 0.05


def test_an_experiment_is_not_different_from_itself(runs):
    first, second = read_replicates(runs / "poor"), read_replicates(runs / "poor", name="again")
    for score in (row.scores[1] for row in compare([first, second], settings=SETTINGS).rows):
        assert (score.difference.value, score.difference.p) == (0, pytest.approx(1))


def test_pairing_makes_the_interval_narrower(tmp_path):
    """Two experiments that err alike: together their difference is small, apart it could be anything."""
    target = truth(60)
    common = regression(target, 1.0, 0).prediction
    for name, hashed, order in (("a", "x", 1), ("b", "x", 1), ("c", "y", -1)):
        task = regression(target, 0.0, len(name) + ord(name))
        task = type(task)("regression", task.ids, target[::order], (common + 0.2 * task.prediction)[::order])
        write_run(tmp_path, name, {"valence": task}, part_hash=hashed)
    found = compare(read(tmp_path, "a", "b", "c"), settings=SETTINGS, allow_different=True)
    paired, apart = (score.difference for score in row_of(found, "valence").scores[1:])
    assert paired.paired
    assert not apart.paired
    assert apart.high - apart.low > 2 * (paired.high - paired.low)


def test_different_parts_are_refused_unless_told(runs):
    write_experiment(runs, "elsewhere", {"valence": 1.0}, part_hash="bbbb", count=50)
    both = read(runs, "poor", "elsewhere")
    with pytest.raises(
        InputError, match=r"poor and elsewhere: .*of 'valence' \(60 tracks, hash \w{12}; 50 tracks, hash"
    ):
        compare(both)
    found = compare(both, settings=SETTINGS, allow_different=True)
    assert not row_of(found, "valence").scores[1].difference.paired


def test_what_a_part_holds_beside_a_tasks_own_tracks_does_not_matter(tmp_path):
    genre = {name: {"genre": classification(60, 0.5 + 0.01 * seed, seed)} for seed, name in enumerate("abc")}
    write_run(tmp_path, "a", genre["a"], part_hash="genre alone")
    write_run(
        tmp_path, "b", {**genre["b"], "valence": regression(truth(30), 1.0, 0, first=50)}, part_hash="both"
    )
    write_run(tmp_path, "c", {"valence": regression(truth(30), 2.0, 0, first=50)}, part_hash="valence alone")
    found = compare(read(tmp_path, "a", "c", "b"), settings=SETTINGS)
    for task, metric in (("genre", "accuracy"), ("valence", "spearman")):
        assert row_of(found, task, metric).scores[1].difference.paired
    write_run(tmp_path, "d", {"valence": regression(truth(30), 2.0, 0, first=51)}, part_hash="both")
    with pytest.raises(InputError) as caught:
        compare(read(tmp_path, "a", "b", "d"), settings=SETTINGS)
    (problem,) = caught.value.problems
    assert problem.startswith("b and d: their test parts differ in the tracks of 'valence'")


def test_the_same_tracks_in_other_folds_are_refused(tmp_path):
    for name, bounds in (("a", (0, 20, 40)), ("b", (0, 10, 40))):
        for fold, (first, last) in enumerate(itertools.pairwise(bounds)):
            task = {"valence": regression(truth(40)[first:last], 1.0, 0, first=first)}
            write_run(tmp_path, name, task, fold=fold, part_hash=str(fold))
    with pytest.raises(InputError, match=r"40 tracks in 2 folds, hash \w+; 40 tracks in 2 folds"):
        compare(read(tmp_path, "a", "b"), settings=SETTINGS)


def test_other_targets_on_the_same_tracks_are_refused(runs):
    write_run(runs, "relabelled", {"valence": regression(truth(60, 9), 1.0, 0)})
    with pytest.raises(InputError, match="the targets of 'valence' differ"):
        compare(read(runs, "poor", "relabelled"))


def test_the_first_that_has_a_task_is_its_baseline(runs):
    write_experiment(runs, "valence-alone", {"energy": 1, "valence": 1.0}, seeds=[0])
    found = compare(read(runs, "single", "poor", "good"), settings=SETTINGS)
    assert row_of(found, "energy").baseline == "single"
    assert row_of(found, "valence").baseline == "poor"
    assert [score.experiment for score in row_of(found, "valence").scores] == ["poor", "good"]


def test_a_baseline_that_is_asked_for(runs):
    found = compare(read(runs, "single", "poor", "good"), baselines=["good"], settings=SETTINGS)
    assert {row.baseline for row in found.rows} == {"good"}
    with pytest.raises(InputError, match=r"godo: no experiment .* did you mean 'good'"):
        compare(read(runs, "single", "good"), baselines=["godo"])


def test_two_of_one_name_are_refused(runs):
    with pytest.raises(InputError, match="two experiments are called 'poor'"):
        compare(read(runs, "poor", "poor"))


def test_the_leading_metric_alone_or_all(runs):
    both = read(runs, "poor", "good")
    assert {row.metric for row in compare(both, settings=SETTINGS).rows} == {"spearman"}
    found = compare(both, settings=SETTINGS, metrics=["rmse", "accuracy"])
    assert [(row.task, row.metric) for row in found.rows] == [
        (task, metric) for task in ("energy", "valence") for metric in ("spearman", "rmse")
    ]
    assert not row_of(found, "energy", "rmse").higher_is_better


def test_holm_is_over_the_leading_metrics_whatever_else_is_asked_for(runs):
    both = read(runs, "poor", "good")
    few, many = (compare(both, settings=SETTINGS, metrics=metrics) for metrics in ((), ("rmse", "mae")))
    for task in ("energy", "valence"):
        first, second = (row_of(one, task).scores[1].difference for one in (few, many))
        assert first == second
    raw = sorted(row.scores[1].difference.p for row in few.rows)
    corrected = sorted(row.scores[1].difference.corrected for row in few.rows)
    assert corrected == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])])


def test_the_mean_over_tasks(runs):
    found = compare(read(runs, "poor", "good"), settings=SETTINGS)
    average = row_of(found, "")
    assert list(average.tasks) == ["energy", "valence"]
    for place in (0, 1):
        means = [row.scores[place].mean for row in found.rows]
        assert average.scores[place].mean == pytest.approx(np.mean(means))
    assert not compare(read(runs, "single", "good"), settings=SETTINGS).averages


def test_every_pair_of_three_is_tested(tmp_path):
    qualities = {"good": 3.0, "poor": 0.2, "fair": 1.0}
    folders = [write_experiment(tmp_path, name, {"a": value, "b": value}) for name, value in qualities.items()]
    comparison = compare([folders[0], f"same={folders[0]}", *folders[1:]])
    (ranking,) = comparison.rankings
    assert (ranking.metric, ranking.tasks) == ("spearman", ["a", "b"])
    assert list(ranking.means) == ["good", "same", "fair", "poor"]
    assert len(ranking.pairs) == 6
    whole = comparison.averages[0]
    means = {score.experiment: score.mean for score in whole.scores}
    difference = ranking.pairs["fair", "poor"]
    assert difference.value == pytest.approx(means["fair"] - means["poor"])
    assert difference.p <= difference.corrected < 0.05
    against_first = {score.experiment: score.difference for score in whole.scores}["poor"]
    assert ranking.pairs["good", "poor"].p == pytest.approx(against_first.p)
    assert comparison.identical == [("good", "same")]
    first, same, *others = verdicts(comparison)
    assert first.startswith("good has the highest mean Spearman's rho of 2 tasks (")
    assert "It is better than fair and poor (all 6 pairs tested, corrected p < 0.05)." in first
    assert "not significantly" not in first
    assert same == "good and same are identical: they have the same predictions on every track."
    assert not any(text.startswith(("same is", "No significant difference between same")) for text in others)
    assert comparison_json(comparison)["rankings"][0]["pairs"][0]["better"] == "good"


def test_relative_improvement_by_hand(runs):
    found = compare(read(runs, "single", "poor", "good"), settings=SETTINGS)
    (improvement,) = (one for one in found.improvements if one.experiment == "good")
    shares = []
    for row in found.rows:
        own, base = (
            next(score.mean for score in row.scores if score.experiment == name)
            for name in ("good", row.baseline)
        )
        shares.append((own - base) / base)
    assert list(improvement.tasks) == ["energy", "valence"]
    assert improvement.value == pytest.approx(np.mean(shares))
    assert improvement.low < improvement.value < improvement.high


def test_relative_improvement_leaves_out_baselines_that_are_not_better_than_chance(tmp_path):
    target = truth(60)
    for name, quality, accuracy in (("a", 0.2, 0.6), ("b", 1.0, 0.6), ("c", 0.2, 0.35)):
        tasks = {"valence": regression(target, quality, 1), "genre": classification(60, accuracy, 2)}
        write_run(tmp_path, name, tasks)
    found = compare(read(tmp_path, "a", "b"), settings=SETTINGS)
    (improvement,) = found.improvements
    assert 0 < row_of(found, "valence").scores[0].mean < 0.2
    assert (improvement.tasks, improvement.left_out) == (["genre"], ["valence"])
    assert improvement.value == 0
    needs = "it needs a baseline that is better than chance: its interval must not include chance."
    assert f"The relative improvement Δm of b leaves out valence: {needs}" in notes(found)
    found = compare(read(tmp_path, "c", "a", "b"), settings=SETTINGS)
    assert all(math.isnan(one.value) for one in found.improvements)
    assert f"There is no relative improvement Δm of a and b: {needs}" in notes(found)


def test_one_value_per_fold_is_explained(tmp_path):
    for fold in (0, 1):
        rated = regression(truth(30, fold), 1.0, fold, first=30 * fold)
        genre = np.repeat([0, 1], [14, 16] if fold else [16, 14])
        for name in ("mean", "ridge"):
            tasks = {
                "valence": rated,
                "genre": TaskEvaluation("classification", rated.ids, genre, genre, ("folk", "jazz")),
            }
            if name == "mean":
                tasks = {
                    one: replace(task, prediction=np.full_like(task.prediction, 1 - fold))
                    for one, task in tasks.items()
                }
            write_run(tmp_path, name, tasks, fold=fold, part_hash=str(fold))
    mean, ridge = read(tmp_path, "mean", "ridge")
    assert [mean.constant(task) for task in mean.tasks] == [True, True]
    assert [ridge.constant(task) for task in ridge.tasks] == [False, False]
    (note,) = (text for text in notes(compare([mean, ridge], settings=SETTINGS)) if "one value" in text)
    assert note.startswith("mean predicts one value for all tracks of a fold, learned from the other folds.")
    assert "whose correlation is 0" in note
    assert "the accuracy is below the share of the most frequent class" in note


def test_the_delta_method_is_what_resampled_ratios_do(runs):
    """Where the baselines are well above 0, the ratio's own bootstrap is a reference."""
    first, second = read(runs, "poor", "good")
    first = type(first)(first.name, "test", first.per_seed[:1], first.hashes)
    second = type(second)(second.name, "test", second.per_seed[:1], second.hashes)
    settings = EvaluationSettings(resamples=2000)
    (improvement,) = compare([first, second], settings=settings, metrics=["rmse"]).improvements
    of = {}
    for one in (first, second):
        for task, evaluation in one.tasks.items():
            of[one.name, task] = evaluation.resampled(2000, ["spearman"])["spearman"]
    ratios = np.mean([of["good", task] / of["poor", task] - 1 for task in ("energy", "valence")], axis=0)
    spread = np.subtract(*np.quantile(ratios, [0.84, 0.16]))
    assert improvement.high - improvement.low == pytest.approx(2 * spread, rel=0.35)


def test_folds_are_scored_as_one_and_one_by_one(tmp_path):
    for fold in (0, 1):
        task = regression(truth(30, fold), 1.0, fold, first=30 * fold)
        write_run(tmp_path, "a", {"valence": task}, fold=fold, part_hash=str(fold))
    (experiment,) = read(tmp_path, "a")
    (score,) = row_of(compare([experiment], settings=SETTINGS), "valence").scores
    whole = experiment.tasks["valence"]
    assert score.mean == pytest.approx(stats.spearmanr(whole.prediction, whole.target).statistic)
    one, two = score.folds
    assert one != pytest.approx(two)
    half = experiment.per_seed[0].folds[0].tasks["valence"]
    assert one == pytest.approx(stats.spearmanr(half.prediction, half.target).statistic)


def test_a_target_that_is_constant_leaves_nothing_defined(tmp_path):
    for name in "ab":
        write_run(tmp_path, name, {"valence": regression(np.ones(9), 1.0, ord(name))})
    score = row_of(compare(read(tmp_path, "a", "b"), settings=SETTINGS), "valence").scores[1]
    assert math.isnan(score.mean)
    assert math.isnan(score.difference.corrected)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (4, 0.4)])
def test_experiments_that_are_equally_good_are_rarely_told_apart(tmp_path, seeds, spread):
    """The share of p-values below 0.1 among 200 pairs whose networks are drawn alike: about a tenth."""
    from musicemo.comparison import Replicates, SeedResult
    from musicemo.evaluation import Evaluation

    settings = EvaluationSettings(resamples=100)
    values = []
    for trial in range(200):
        random = np.random.default_rng([trial, seeds])
        target = random.normal(size=50)
        pair = []
        for name in ("a", "b"):
            replicates = []
            for seed in range(seeds):
                prediction = (1 + spread * random.normal()) * target + random.normal(size=50)
                task = regression(target, 0.0, 0)
                whole = Evaluation({"v": type(task)("regression", task.ids, target, prediction)})
                replicates.append(SeedResult(seed, 0, {None: tmp_path}, {None: whole}, whole))
            pair.append(Replicates(name, "test", replicates, ["h"]))
        values.append(compare(pair, settings=settings).rows[0].scores[1].difference.p)
    assert 0.03 < np.mean(np.array(values) < 0.1) < 0.17
