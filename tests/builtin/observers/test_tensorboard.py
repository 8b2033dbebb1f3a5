"""Event files are read back with TensorBoard's own reader."""

from __future__ import annotations

import json
import signal
import tomllib
from collections import Counter

import fakes as fakes_module
import numpy as np
import pytest
from musicemo_builtin.observers.tensorboard import _put_first
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from torch.utils.tensorboard.summary import hparams

from musicemo.contracts import Track
from musicemo.hookspecs import hookimpl
from musicemo.tracking import tensorboard_plugins

pytestmark = pytest.mark.slow

TEXT = fakes_module.EXPERIMENT.replace("[training]", "[evaluation]\nresamples = 100\n\n[training]")


@pytest.fixture(scope="module")
def launcher():
    from launcher import launcher

    return launcher()


class Tone:
    """Twenty seconds of a tone."""

    identity = "tone"

    def samples(self):
        return np.sin(np.arange(160_000, dtype=np.float32)), 8000


def run(launcher, folder, *arguments, moment="", text=TEXT):
    (folder / "small.toml").write_text(text)
    environment = {"MUSICEMO_TEST_KILL_AT": moment}
    finished = launcher.run(
        "run", "small.toml", *arguments, folder=folder, environment=environment, tensorboard=True
    )
    (directory,) = (folder / "runs").glob("*/*")
    return finished, directory


def read(directory):
    found = EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def history(directory):
    return [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]


def scalars(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.fixture(scope="module")
def done(launcher, tmp_path_factory):
    """Return a finished run's directory and its events."""
    finished, directory = run(launcher, tmp_path_factory.mktemp("tensorboard"))
    assert (finished.code, finished.err) == (0, "")
    assert "musicemo tensorboard runs" in finished.out
    return directory, read(directory)


def test_the_layout_has_training_and_validation_in_one_chart(done):
    _, events = done
    content = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    categories = {one.title: one for one in layout_pb2.Layout.FromString(content).category}
    assert list(categories) == ["Loss", "Metrics", "Weights"]
    charts = {chart.title: list(chart.multiline.tag) for one in categories.values() for chart in one.chart}
    assert charts["total"] == ["Loss/Total/train", "Loss/Total/val"]
    assert charts["weights"] == ["Weights/valence", "Weights/genre"]
    tags = set(events.Tags()["scalars"])
    assert all(tag in tags for some in charts.values() for tag in some)


def test_the_beginning_of_a_track_can_be_heard(tmp_path):
    from musicemo_builtin.observers.tensorboard import TensorBoard
    from torch.utils.tensorboard import SummaryWriter

    plugin = TensorBoard()
    plugin._writer = SummaryWriter(str(tmp_path))
    for track in (Track("tone", audio=Tone()), Track("moved", audio=tmp_path / "a.wav"), Track("none")):
        plugin._play(track)
    plugin._close()
    events = EventAccumulator(str(tmp_path), size_guidance={"audio": 0})
    events.Reload()
    assert events.Tags()["audio"] == ["audio/tone"]
    (clip,) = events.Audio("audio/tone")
    assert (clip.sample_rate, clip.length_frames, clip.content_type) == (8000, 15 * 8000, "audio/wav")


def test_there_is_one_event_file(done):
    assert len(list(done[0].glob("events.out.tfevents.*"))) == 1


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("Loss/Total/train", "train/loss"),
        ("Loss/Total/val", "val/loss"),
        ("Loss/valence/train", "train/valence/loss"),
        ("Loss/genre/val", "val/genre/loss"),
        ("Metrics/valence/spearman/val", "val/valence/spearman"),
        ("Metrics/genre/accuracy/train", "train/genre/accuracy"),
        ("optimization/learning_rate", "learning_rate"),
        ("optimization/gradient_norm", "train/gradient_norm"),
        ("optimization/objective", "train/objective"),
        ("Weights/genre", "weight/genre"),
        ("metrics/valence/ccc/val", "val/valence/ccc"),
    ],
)
def test_every_epoch_has_its_scalars(tag, name, done):
    directory, events = done
    expected = [(record["epoch"], pytest.approx(record[name], rel=1e-6)) for record in history(directory)]
    assert scalars(events, tag) == expected


def test_everything_in_the_history_is_a_scalar(done):
    directory, events = done
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("final/")]
    assert len(tags) == len(history(directory)[0]) - 1
    assert all(len(events.Scalars(tag)) == 3 for tag in tags)


def test_figures_show_each_task_and_part_at_the_best_epoch(done):
    directory, events = done
    best = json.loads((directory / "results.json").read_text())["best_epoch"]
    for task in ("valence", "genre"):
        for part in ("train", "val", "test"):
            (image,) = events.Images(f"predictions/{task}/{part}")
            assert image.step == best
            assert min(image.width, image.height) >= 300
            assert image.encoded_image_string.startswith(b"\x89PNG")


def test_three_tracks_of_the_training_part_are_shown(done):
    directory, events = done
    train = json.loads((directory / "split.json").read_text())["train"]
    examples = [tag for tag in events.Tags()["images"] if tag.startswith("tracks/")]
    assert examples == [f"tracks/{track}" for track in train[:3]]


def test_the_configuration_is_text(done):
    directory, events = done
    (event,) = events.Tensors("experiment/text_summary")
    (text,) = event.tensor_proto.string_val
    lines = [line.removeprefix("    ") for line in text.decode().splitlines()]
    assert tomllib.loads("\n".join(lines)) == tomllib.loads((directory / "experiment.toml").read_text())


def test_hyper_parameters_stand_beside_the_final_metrics(done):
    directory, events = done
    results = json.loads((directory / "results.json").read_text())
    value = pytest.approx(results["metrics"]["test"]["valence"]["spearman"]["value"])
    assert scalars(events, "final/test/valence/spearman") == [(1, value), (3, value)], "a line, not a point"
    assert "final/val/genre/macro_f1" in events.Tags()["scalars"]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["training.optimizer.lr"].number_value == 1e-2
    assert settings["seed"].number_value == 0
    assert settings["model.type"].string_value == "means"
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    metrics = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos
    assert "final/test/valence/spearman" in {metric.name.tag for metric in metrics}


def test_settings_that_differ_between_variants_are_marked_which_puts_them_first():
    settings = {"model.type": "mean", "model.size": 3, "modelling": 1, "seed": 0, "training.optimizer.lr": 0.1}
    summary, *_ = hparams(settings, {"final/test/valence/spearman": 0.5})
    _put_first(summary, ["model", "lr"])
    content = summary.value[0].metadata.plugin_data.content
    infos = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.hparam_infos
    differing = {info.name: info.differs for info in infos}
    assert {name for name, differs in differing.items() if differs} == {
        "model.type",
        "model.size",
        "training.optimizer.lr",
    }
    assert len(differing) == 5


@pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")  # of a package in tensorboard
def test_all_runs_of_a_folder_are_listed_and_what_differs_within_an_experiment_is_first():
    runs = {
        "nets/0": ({"seed": 0, "training.epochs": 5, "dataset.root": "x"}, ["final/test/valence/spearman"], []),
        "nets/1": ({"seed": 1, "training.epochs": 5, "dataset.root": "x"}, ["final/test/valence/spearman"], []),
        "svr/0": ({"seed": 0, "model.C": 2.0, "dataset.root": "y"}, ["final/test/genre/accuracy"], ["C"]),
    }
    contents = {}
    for name, (settings, metrics, axes) in runs.items():
        summaries = hparams(settings, dict.fromkeys(metrics, 0.5))
        _put_first(summaries[0], axes)
        values = [one.value[0] for one in summaries]
        contents[name] = {value.tag: value.metadata.plugin_data.content for value in values}
    (plugin,) = (one for one in tensorboard_plugins() if getattr(one, "plugin_name", "") == "hparams")
    context = plugin(TBContext())._context
    found = context.experiment_from_metadata(None, "", True, contents, None)
    assert [(info.name, info.differs) for info in found.hparam_infos] == [
        ("model.C", True),
        ("seed", True),
        ("dataset.root", False),
        ("training.epochs", False),
    ]
    assert {one.name.tag for one in found.metric_infos} == {
        "final/test/valence/spearman",
        "final/test/genre/accuracy",
    }


#: After the checkpoint of an epoch and before its scalars; in the middle of evaluation, long after the best epoch;
#: before the first checkpoint.
@pytest.mark.parametrize(
    "moment", ["epoch_finished:2", "batch_finished:3:1", "evaluated:val", "batch_finished:1:1"]
)
def test_a_resumed_run_has_every_step_once(moment, done, launcher, tmp_path):
    assert run(launcher, tmp_path, moment=moment)[0].code == -signal.SIGKILL
    finished, directory = run(launcher, tmp_path, "--resume")
    assert finished.code == 0, finished.err
    whole, events = done[1], read(directory)
    for kind in ("scalars", "images", "tensors"):
        assert Counter(events.Tags()[kind]) == Counter(whole.Tags()[kind])
    for tag in whole.Tags()["scalars"]:
        assert scalars(events, tag) == scalars(whole, tag), tag
    for tag in whole.Tags()["images"]:
        assert [image.step for image in events.Images(tag)] == [image.step for image in whole.Images(tag)], tag
    assert len(events.Tensors("experiment/text_summary")) == 1


class Undefined:
    """Adds a metric, and one that is not defined."""

    @hookimpl(tryfirst=True)
    def musicemo_epoch_finished(self, record):
        record |= {"val/valence/odd": float("nan"), "val/valence/even": 2}


def test_what_is_not_defined_is_left_out(fakes, tmp_path):
    from harness import run_all
    from musicemo_builtin.observers.tensorboard import TensorBoard

    (outcome,) = run_all(tmp_path, "training.epochs=1", plugins=[TensorBoard(), Undefined()])
    events = read(outcome.directory)
    assert "metrics/valence/odd/val" not in events.Tags()["scalars"]
    assert scalars(events, "metrics/valence/even/val")


def test_a_task_without_a_track_has_no_figure_and_an_overfit_run_shows_training_alone(fakes, tmp_path):
    from harness import train
    from musicemo_builtin.observers.tensorboard import TensorBoard

    recorder = train(tmp_path, "training.epochs=1", plugins=[TensorBoard()], overfit_batches=1)
    events = read(recorder.run.directory)
    shown = {tag for tag in events.Tags()["images"] if not tag.startswith("tracks/")}
    assert shown == {"predictions/valence/train", "predictions/genre/train"}
    assert not any(tag.startswith("final/") for tag in events.Tags()["scalars"])


def test_the_tasks_conflict_is_drawn_over_the_epochs(fakes, tmp_path):
    from harness import train
    from musicemo_builtin.observers.tensorboard import TensorBoard

    directory = train(
        tmp_path, "training.gradient_diagnostics={ every = 1 }", plugins=[TensorBoard()]
    ).run.directory
    events = read(directory)
    (image,) = events.Images("gradient/cosine")
    assert image.step == 3
    assert [step for step, _ in scalars(events, "gradient/valence:genre/cosine")] == [1, 2, 3]


def test_examples_are_shown_before_and_after_augmentation(fakes_beside, tmp_path):
    from harness import assemble, train
    from musicemo_builtin.observers.tensorboard import TensorBoard

    chain = "augment=[{ type = 'noise' }, { type = 'mixup' }]"
    directory = train(tmp_path, chain, "training.epochs=2", plugins=[TensorBoard()]).run.directory
    events = read(directory)
    batch = next(assemble(tmp_path, chain).batches["train"].epoch(1))
    shown = [tag for tag in events.Tags()["images"] if tag.startswith("augmented/")]
    assert shown == [f"augmented/track{index:03d}" for index in batch.indices[:2]]
    (image,) = events.Images(shown[0])
    assert image.step == 1
