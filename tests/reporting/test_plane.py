"""The plane of two emotions."""

from xml.etree import ElementTree

import numpy as np
import pytest

from musicemo.evaluation import Evaluation, TaskEvaluation
from musicemo.reporting.blocks import Page
from musicemo.reporting.charts import MUTED, Cursor, Excerpt, Line, Points, Rule, to_svg
from musicemo.reporting.sections.plane import Dimension, course_marks, plane_chart, plane_section, plane_tasks


def ratings(ids, seed, noise):
    random = np.random.default_rng(seed)
    true = random.uniform(1, 9, len(ids))
    return TaskEvaluation("regression", ids, true, true + noise * random.normal(size=len(ids)))


def evaluation(count, names=("valence", "arousal"), classes=0, noises=(0.1, 1.0, 5.0)):
    ids = [f"track{number:03d}" for number in range(count)]
    tasks = {
        name: ratings(ids, seed, noise) for seed, (name, noise) in enumerate(zip(names, noises, strict=False))
    }
    if classes:
        of_track = np.arange(count) % classes
        labels = [f"class{number}" for number in range(classes)]
        tasks["genre"] = TaskEvaluation("classification", ids, of_track, of_track, classes=labels)
    return Evaluation(tasks)


def charts_of(section):
    return [chart for block in section.blocks for chart in block.charts]


def points_of(chart):
    return [mark for mark in chart.marks if isinstance(mark, Points)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("sadness", "arousal", "valence"), ("valence", "arousal")),
        (("Energy", "sadness", "mean_valence"), ("mean_valence", "Energy")),
        (("sadness", "power", "calmness"), ("sadness", "power")),  # in the order of their correlations
        (("valence_energy", "power", "calmness"), ("valence_energy", "power")),
        (("sadness",), None),
    ],
)
def test_valence_and_arousal_span_the_plane_or_the_two_best_predicted(names, expected):
    assert plane_tasks(evaluation(40, names)) == expected


def test_a_few_tracks_have_their_true_and_predicted_ratings_joined():
    both = evaluation(3)
    section = plane_section(both, {"valence": {"range": [1, 9]}, "arousal": {"range": [1, 9]}})
    (chart,) = charts_of(section)
    assert section.title == "Plane of valence and arousal"
    lines = [mark for mark in chart.marks if isinstance(mark, Line)]
    rings, dots = points_of(chart)
    valence, arousal = both.tasks["valence"], both.tasks["arousal"]
    assert (list(dots.x), list(dots.y)) == (valence.target.tolist(), arousal.target.tolist())
    assert (list(rings.x), list(rings.y)) == (valence.prediction.tolist(), arousal.prediction.tolist())
    assert (rings.ring, rings.label, dots.label) == (True, "predicted", "true")
    assert [list(line.x) for line in lines] == np.array([valence.target, valence.prediction]).T.tolist()
    assert [list(line.y) for line in lines] == np.array([arousal.target, arousal.prediction]).T.tolist()
    true, predicted = (f"{value:.3g}" for value in (valence.target[0], valence.prediction[0]))
    assert dots.titles[0].startswith(f"track000: valence {true} (predicted {predicted}), arousal ")
    assert (chart.x.label, chart.y.label) == ("valence (1 to 9)", "arousal (1 to 9)")


def test_many_tracks_have_two_charts_with_equal_axes():
    charts = charts_of(plane_section(evaluation(100), {}))
    assert [chart.title for chart in charts] == ["true ratings", "predicted ratings"]
    assert (charts[0].x, charts[0].y) == (charts[1].x, charts[1].y)
    assert [len(points_of(chart)[0].x) for chart in charts] == [100, 100]


def test_a_sample_of_very_many_tracks_is_drawn_and_the_page_says_so():
    section = plane_section(evaluation(1000), {})
    assert "400 of the 1000 tracks are drawn" in section.blocks[0].note
    (points,) = points_of(charts_of(section)[0])
    assert (len(set(points.tracks)), points.tracks[0], points.tracks[-1]) == (400, "track000", "track999")


def test_classes_have_colours_and_rare_ones_are_grey():
    few = points_of(charts_of(plane_section(evaluation(90, classes=3), {}))[0])
    assert [(mark.label, mark.colour) for mark in few] == [("class0", 0), ("class1", 1), ("class2", 2)]
    many = points_of(charts_of(plane_section(evaluation(90, classes=20), {}))[0])
    assert [mark.colour for mark in many] == [*range(7), MUTED]
    assert many[-1].label == "other classes"
    assert sum(len(mark.x) for mark in many) == 90


def test_tracks_rated_over_time_are_at_their_means_and_tracks_without_both_ratings_are_left_out():
    times = [np.array([1.0, 2.0]), np.array([1.0]), np.array([1.0])]
    values = [np.array([2.0, 4.0]), np.array([5.0]), np.array([1.0])]
    series = TaskEvaluation.of_series(["a", "b", "c"], times, values, [one + 1 for one in values])
    others = TaskEvaluation("regression", ["c", "a"], np.array([7.0, 8.0]), np.array([6.0, 5.0]))
    chart = charts_of(plane_section(Evaluation({"valence": series, "arousal": others}), {}))[0]
    rings, dots = points_of(chart)
    assert (dots.tracks, dots.x, dots.y) == (["a", "c"], (3.0, 1.0), (8.0, 7.0))
    assert (rings.x, rings.y) == ((4.0, 2.0), (5.0, 6.0))


def test_there_is_no_plane_without_two_tasks_or_two_tracks():
    assert plane_section(evaluation(9, ("valence",)), {}).blocks == []
    assert plane_section(evaluation(1), {}).blocks == []


def test_lines_part_the_quadrants_where_the_middle_of_the_range_is_on_the_axis():
    points = Points([2, 6], [1, 2])
    chart = plane_chart(Dimension("valence", (1, 9)), Dimension("arousal", (1, 9)), [points])
    assert [mark for mark in chart.marks if isinstance(mark, Rule)] == [Rule(5, "x")]
    assert chart.aspect == 1


def test_a_course_has_a_cursor_with_a_place_for_each_time():
    marks = course_marks([0.5, 1.5, 2.5], [1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    chart = plane_chart(Dimension("valence"), Dimension("arousal"), marks)
    assert marks[-1] == Cursor([0.5, 1.5, 2.5], [1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    root = ElementTree.fromstring(to_svg(chart))
    (cursor,) = (one for one in root.iter("circle") if one.get("class") == "cursor")
    dots = [one for one in root.iter("circle") if one.get("class").startswith("dot")]
    places = [[float(one.get(name)) for one in dots] for name in ("cx", "cy")]
    assert cursor.get("data-times") == "[0.5, 1.5, 2.5]"
    assert (cursor.get("data-x"), cursor.get("data-y")) == (str(places[0]), str(places[1]))


def test_points_are_playable_if_their_tracks_have_audio(tmp_path):
    section = plane_section(evaluation(3), {})
    page = Page("run", "title", "", "done", [], [], [section])
    assert page.tracks == ["track000", "track001", "track002"]
    excerpt = Excerpt(tmp_path / 'a "b".mp3', 2.5)
    page = page.with_descriptions({"track001": "Muse"}).with_players({"track001": excerpt})
    (chart,) = charts_of(page.sections[0])
    assert [title.partition(":")[0] for title in points_of(chart)[0].titles] == [
        "track000",
        "track001 (Muse)",
        "track002",
    ]
    root = ElementTree.fromstring(to_svg(chart, lambda file: f"audio/{file.name}"))
    (dot, ring) = (one for one in root.iter("circle") if one.get("data-audio"))
    assert dot.get("data-audio") == ring.get("data-audio") == 'audio/a "b".mp3'
    assert (dot.get("data-start"), dot.get("role"), root.get("role")) == ("2.5", "button", "group")
    assert "data-audio" not in to_svg(chart)
