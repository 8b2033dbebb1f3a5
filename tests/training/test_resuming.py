"""What a run is resumed from when something of it is missing or damaged, and what a checkpoint must hold."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile

import fakes as components
import numpy as np
import pytest
import torch
from complaints import warns
from harness import assemble, only_run, results_of, run_all, train

from musicemo.contracts import Target
from musicemo.errors import InputError, RunError
from musicemo.hookspecs import hookimpl
from musicemo.prediction import TrainedRun
from musicemo.training import check_resumable, load_checkpoint

pytestmark = pytest.mark.usefixtures("fakes")

#: A rate so high that the first epochs are the best ones; momentum and dropout make every epoch count.
SETTINGS = (
    "training={ epochs = 6, batch_size = 16, device = 'cpu' }",
    "training.optimizer={ type = 'adam', lr = 0.4 }",
    "training.early_stopping={ patience = false, per_task = true }",
    "weighting.type='learned'",
)


class Interrupt:
    """Ends the process after an epoch's checkpoint."""

    def __init__(self, epoch):
        self.epoch = epoch

    @hookimpl
    def musicemo_epoch_finished(self, record):
        if record["epoch"] == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def _whole(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(_whole):
    """Return the directory of a run that was not interrupted."""
    if not (_whole / "runs").exists():
        train(_whole, *SETTINGS)
    return only_run(_whole)


@pytest.fixture
def stopped(tmp_path):
    """Return the directory of a run that was interrupted after epoch 4, whose best epoch is an earlier one."""
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *SETTINGS, plugins=[Interrupt(4)])
    directory = only_run(tmp_path)
    state = load_checkpoint(directory / "checkpoints" / "last.pt")
    assert state["stopping"]["best_epoch"] < state["epoch"] == 4
    return directory


def resume(directory):
    return train(directory.parents[2], *SETTINGS, resume=True)


def assert_as_whole(directory, whole):
    for name in ("history.jsonl", "predictions.csv"):
        assert (directory / name).read_bytes() == (whole / name).read_bytes(), name
    first, second = (load_checkpoint(path / "checkpoints" / "last.pt") for path in (directory, whole))
    for part in ("network", "weighting"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in second[part])


def flip(path):
    """Change a bit in the middle of the largest tensor; between tensors, a file has padding."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
        header = largest.header_offset
    content = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<HH", content, header + 26)
    content[header + 30 + name + extra + largest.file_size // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.slow
def test_a_resumed_run_is_the_whole_one_to_the_bit(stopped, whole):
    assert [json.loads(line)["epoch"] for line in (stopped / "history.jsonl").read_text().splitlines()] == [
        *range(1, 5)
    ]
    recorder = resume(stopped)
    assert recorder.calls[1] == ("epoch_started", 5)
    assert_as_whole(stopped, whole)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_without_its_last_checkpoint_a_run_is_resumed_from_the_best_one(damage, stopped, whole):
    damage(stopped / "checkpoints" / "last.pt")
    check_resumable(stopped)
    with warns(r"last\.pt: .*; resumed from \S+best\.pt, after epoch 1"):
        recorder = resume(stopped)
    assert recorder.calls[1] == ("epoch_started", 2)
    assert_as_whole(stopped, whole)


def missing_key(path):
    state = load_checkpoint(path)
    del state["random"]
    torch.save(state, path)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, missing_key])
def test_nothing_is_trained_if_no_checkpoint_is_left(damage, stopped):
    for name in ("best.pt", "last.pt"):
        damage(stopped / "checkpoints" / name)
    before = (stopped / "history.jsonl").read_bytes()
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            resume(stopped)
        *problems, advice = caught.value.problems
        assert [problem.split(":")[0] for problem in problems] == [
            str(stopped / "checkpoints" / name) for name in ("last.pt", "best.pt")
        ]
        assert advice == "The run cannot be resumed; --no-resume trains it again, in a new run directory."
        with pytest.raises(InputError, match="--no-resume"):
            check_resumable(stopped)
    assert (stopped / "history.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, lambda path: path.unlink()])
def test_a_missing_best_checkpoint_is_reported_before_training(damage, stopped):
    damage(stopped / "checkpoints" / "best.pt")
    with pytest.raises(InputError, match=r"best\.pt: .*\n(.*\n)*.*--no-resume"):
        check_resumable(stopped)
    with pytest.raises(InputError, match=r"best\.pt: .*\n(.*\n)*.*--no-resume"):
        resume(stopped)
    assert len((stopped / "history.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, lambda path: path.unlink()])
def test_a_missing_checkpoint_of_a_task_is_trained_again(damage, stopped, whole):
    for path in (stopped / "checkpoints").glob("best-*.pt"):
        damage(path)
    with warns(r"best-\w+\.pt: .*resumed from \S+best\.pt, after epoch 1"):
        resume(stopped)
    assert_as_whole(stopped, whole)
    for path in (whole / "checkpoints").iterdir():
        assert load_checkpoint(stopped / "checkpoints" / path.name)["epoch"] == load_checkpoint(path)["epoch"]


@pytest.mark.slow
def test_a_best_checkpoint_of_the_last_epoch_is_written_again(tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *SETTINGS, plugins=[Interrupt(1)])
    directory = only_run(tmp_path)
    for path in (directory / "checkpoints").glob("best*.pt"):
        path.unlink()
    resume(directory)
    assert_as_whole(directory, whole)


@pytest.mark.slow
@pytest.mark.parametrize("left", [("best.pt", "best-genre.pt", "best-valence.pt"), ("best-valence.pt",)])
def test_an_end_within_the_first_checkpoint_is_not_a_damage(left, tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *SETTINGS, plugins=[Interrupt(1)])
    directory = only_run(tmp_path)
    for path in (directory / "checkpoints").iterdir():
        if path.name not in left:
            path.unlink()
    resume(directory)
    assert_as_whole(directory, whole)


@pytest.mark.slow
def test_a_best_checkpoint_of_another_epoch_is_refused(stopped):
    folder = stopped / "checkpoints"
    shutil.copy(folder / "last.pt", folder / "best.pt")
    with pytest.raises(InputError, match=r"best\.pt: is of epoch 4, where last\.pt expects epoch 1"):
        check_resumable(stopped)


@pytest.mark.slow
def test_a_kill_between_history_and_checkpoint_leaves_a_line_to_cut(stopped, whole):
    with (stopped / "history.jsonl").open("a") as file:
        file.write('{"epoch": 5, "val/loss": 0.1}\n{"epoch": 6, "val/')
    resume(stopped)
    assert_as_whole(stopped, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:3], "the history has 3 of 4 epochs"),
        (
            lambda lines: [lines[0], lines[1], "{", lines[3]],
            "line 3 of the history is not the record of epoch 3",
        ),
        (lambda lines: [lines[0], lines[1], lines[3], lines[2]], "line 3 of the history"),
        (lambda lines: [lines[0], lines[1], '{"epoch": 3, "val/loss": "low"}', lines[3]], "line 3"),
    ],
)
def test_a_damaged_history_is_resumed_from_an_earlier_epoch(change, message, stopped, whole):
    path = stopped / "history.jsonl"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    with warns(rf"history\.jsonl: {message}.*resumed from \S+best\.pt"):
        resume(stopped)
    assert_as_whole(stopped, whole)


@pytest.mark.slow
def test_a_missing_history_is_an_error(stopped):
    (stopped / "history.jsonl").unlink()
    with pytest.raises(InputError, match=r"history\.jsonl: cannot be read: No such file.*\n.*--no-resume"):
        resume(stopped)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_has_its_history_in_the_checkpoint(stopped, whole):
    history = [json.loads(line) for line in (stopped / "history.jsonl").read_text().splitlines()]
    for name in ("best.pt", "last.pt"):
        path = stopped / "checkpoints" / name
        state = load_checkpoint(path)
        torch.save(state | {"history": history[: state["epoch"]]}, path)
    (stopped / "history.jsonl").unlink()
    resume(stopped)
    assert_as_whole(stopped, whole)


@pytest.mark.slow
def test_a_run_is_resumed_with_its_recorded_number_of_threads(stopped):
    path = stopped / "checkpoints" / "last.pt"
    torch.save(load_checkpoint(path) | {"threads": 2}, path)

    class Threads:
        seen = 0

        @hookimpl
        def musicemo_epoch_started(self):
            Threads.seen = torch.get_num_threads()

    assert torch.get_num_threads() == 1
    train(stopped.parents[2], *SETTINGS, resume=True, plugins=[Threads()])
    assert Threads.seen == 2
    assert torch.get_num_threads() == 1


@pytest.mark.slow
def test_a_checkpoint_does_not_grow_with_the_epochs(tmp_path):
    sizes = []

    class Sizes:
        @hookimpl
        def musicemo_epoch_finished(self, run):
            sizes.append((run.directory / "checkpoints" / "last.pt").stat().st_size)

    train(tmp_path, "training.epochs=30", "training.early_stopping.patience=false", plugins=[Sizes()])
    assert max(sizes) - min(sizes) < 200  # a number of two digits


class Vandal:
    """Adds to the record that it is given, and fails to change the history."""

    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        record["mine"] = np.float32(1)
        with pytest.raises(TypeError):
            run.history[-1]["mine"] = 1


@pytest.mark.slow
def test_a_plugin_does_not_change_what_is_recorded(tmp_path):
    run_all(tmp_path, plugins=[Vandal()])
    lines = [json.loads(line) for line in (only_run(tmp_path) / "history.jsonl").read_text().splitlines()]
    assert "mine" not in lines[0]


@pytest.mark.slow
def test_classes_of_numpy_are_stored_as_text(fakes, tmp_path):
    class Sheet(components.MemoryDataset):
        def __init__(self) -> None:
            super().__init__()
            classes = tuple(np.unique(components.CLASSES[:3]))
            self.targets = (Target("genre", "classification", classes=classes), Target("valence", "regression"))
            self.rows = slice(np.int64(0), np.int64(components.ROWS))

        def tracks(self):
            for track in super().tracks():
                yield type(track)(track.id, track.features, {"genre": np.str_(track.targets["genre"])})

    fakes("dataset", "sheet", Sheet)
    text = components.EXPERIMENT.replace('[tasks.valence]\nloss = { type = "squared-error" }\n', "")
    recorder = train(tmp_path, "dataset={ type = 'sheet' }", text=text)
    run = TrainedRun.load(recorder.run.directory)
    assert [type(name) for name in run.description.tasks[0].classes] == [str] * 3


class Attribute(components.MeanModel):
    """Scales by a running size that is an attribute of Python."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.size = 1.0

    def forward(self, x, lengths):
        if self.training:
            self.size = 0.9 * self.size + 0.1 * float(x.std())
        return super().forward(x, lengths) / self.size


class Late(Attribute):
    """Takes its attribute from the second epoch on."""

    epochs = 0

    def forward(self, x, lengths):
        self.epochs += self.training
        return components.MeanModel.forward(self, x, lengths) * (1 if self.epochs < 4 else 2)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "epochs"), [(Attribute, 1), (Late, 3)])
def test_state_that_no_checkpoint_holds_is_found(model, epochs, fakes, tmp_path):
    fakes("model", "attribute", model)
    with pytest.raises(RunError, match=r"state that is not in its state_dict: .*register_buffer|register what"):
        train(tmp_path, "model.type='attribute'")
    directory = only_run(tmp_path)
    assert len((directory / "history.jsonl").read_text().splitlines()) == epochs
    assert results_of(directory)["status"] == "failed"


class Extra(components.MeanModel):
    """Counts its steps in an extra state."""

    value = 0

    def forward(self, x, lengths):
        self.value = self.value + self.training
        return super().forward(x, lengths) * (1 + 0.1 * float(self.value))

    def get_extra_state(self):
        return self.store()

    def set_extra_state(self, state):
        self.value = state if not isinstance(state, dict) else state["steps"]

    def store(self):
        return {"steps": self.value}


@pytest.mark.slow
def test_an_extra_state_of_plain_values_is_kept(fakes, tmp_path):
    fakes("model", "extra", Extra)
    whole = train(tmp_path, "model.type='extra'", runs="whole").run
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, "model.type='extra'", plugins=[Interrupt(2)])
    resumed = train(tmp_path, "model.type='extra'", resume=True).run
    assert resumed.history == whole.history
    assert TrainedRun.load(only_run(tmp_path)).network.backbone.value > 0


def test_an_extra_state_that_cannot_be_read_back_is_refused_before_training(fakes, tmp_path):
    class Numpy(Extra):
        def store(self):
            return np.full(2, self.value)

    fakes("model", "extra", Numpy)
    with pytest.raises(
        InputError, match=r"model: its state_dict holds 'backbone\._extra_state' of type numpy\.ndarray"
    ):
        assemble(tmp_path, "model.type='extra'")


@pytest.mark.slow
def test_a_state_that_cannot_be_read_back_after_an_epoch_is_named(fakes, tmp_path):
    class Later(Extra):
        def store(self):
            return np.int64(self.value) if self.value else 0

    fakes("model", "extra", Later)
    with pytest.raises(RunError, match=r"because of 'network\.backbone\._extra_state' of type numpy\.int64"):
        train(tmp_path, "model.type='extra'")
    assert len((only_run(tmp_path) / "history.jsonl").read_text().splitlines()) == 1
