"""Distillation: a teacher's predictions of the training set, each from a model that was not fitted to the track."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data import PARTS, Split, SplitSettings, Tracks, identify_data
from musicemo.errors import InputError
from musicemo.evaluation import METRICS, finite
from musicemo.experiment import Experiment
from musicemo.experiment.tracks import split_some
from musicemo.features import cache_folder
from musicemo.files import exclusive, make_folder, write_bytes
from musicemo.running.prepare import TrackReader, prepare
from musicemo.training import Teacher
from musicemo.training.fitters import make_fitter
from musicemo.training.scoring import Predictions, Scorer, collect_predictions, to_evaluation

__all__ = ["Lesson", "find_teacher"]

_log = logging.getLogger(__name__)

#: Reads the tracks of teachers, whose features are other ones; those of the last teacher are kept.
_READER = TrackReader()
#: Changes with the computation, so that predictions of an earlier version are computed again.
_VERSION = 1
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Lesson:
    """What a network learns from its teacher."""

    teacher: Teacher
    #: For `results.json`: the teacher's model, the number of inner folds, and its metrics on the training set.
    results: Mapping[str, Any]


def find_teacher(experiment: Experiment, tracks: Tracks, split: Split) -> Lesson | None:
    """Return the teacher of an experiment with ``[distillation]``, with its predictions of the training set.

    The training set is divided into inner folds. Each is predicted by a teacher that was fitted to the others, so that
    no prediction is of a track that the teacher was fitted to, and the validation and the test set are not used.
    The predictions are kept in the cache. They depend on the teacher, the data and the training set, but not on the
    network or its seed.

    Args:
        experiment: the experiment of the network.
        tracks: its tracks.
        split: their split.

    Raises:
        InputError: the teacher cannot be fitted to the tasks, or has no features of a track.
    """
    if experiment.distillation is None or experiment.teacher is None:
        return None
    with experiment.source.blaming("distillation"):
        return _Teaching(experiment, experiment.teacher, tracks, split.parts["train"]).lesson()


class _Teaching:
    """A teacher and a training set.

    Args:
        experiment: the experiment of the network.
        teacher: that of the teacher.
        tracks: the tracks of the network.
        train: the training set.

    Raises:
        InputError: the teacher's tracks cannot be read, or lack one of the training set.
    """

    def __init__(
        self, experiment: Experiment, teacher: Experiment, tracks: Tracks, train: NDArray[np.intp]
    ) -> None:
        assert experiment.distillation is not None
        self._settings = experiment.distillation
        self._tracks = tracks
        self._train = train
        self._taught = _READER.read(teacher).tracks
        self._teacher = teacher.completed(self._taught)
        places = {name: place for place, name in enumerate(self._taught.ids)}
        if missing := [tracks.ids[index] for index in train if tracks.ids[index] not in places]:
            raise InputError(
                f"the teacher has no features of {len(missing)} tracks, for example {missing[0]!r}"
            )
        #: `[tracks of the network]`: index of each track of the training set among those of the teacher.
        self._places = np.full(len(tracks), -1)
        self._places[train] = [places[tracks.ids[index]] for index in train]
        self._folds = [
            split_some(_inner_split(experiment, self._settings.folds), tracks, train, fold)
            for fold in range(self._settings.folds)
        ]

    def lesson(self) -> Lesson:
        """Return the predictions of the training set, from the cache or computed."""
        outputs = self._outputs()
        soft: dict[str, Tensor] = {}
        for task in self._taught.tasks:
            values = torch.from_numpy(outputs[task.name]).double()
            if task.kind == "classification":
                values = values.softmax(dim=1)
            elif task.kind == "tags":
                values = values.sigmoid()
            soft[task.name] = values.new_full((len(self._tracks), *values.shape[1:]), torch.nan)
            soft[task.name][torch.from_numpy(self._train)] = values
        predicted = Predictions(
            {name: torch.from_numpy(values) for name, values in outputs.items()},
            torch.from_numpy(self._taught.targets[self._places[self._train]]),
            {},
            self._places[self._train],
        )
        evaluation = to_evaluation(predicted, self._taught)
        results = {
            "teacher": self._teacher.model.name,
            "folds": self._settings.folds,
            "metrics": {
                name: {METRICS[task.kind][0]: finite(task.metric(METRICS[task.kind][0]))}
                for name, task in evaluation.tasks.items()
            },
        }
        return Lesson(Teacher(soft, self._settings.weight), results)

    def _outputs(self) -> dict[str, NDArray[np.float32]]:
        """Return task -> outputs of the teacher for the training set, `[tracks]` or `[tracks, classes]`."""
        folder = cache_folder() / "distillation" / f"{self._teacher.model.name.replace('/', '-')}-{self._key()}"
        make_folder(folder)
        path = folder / "predictions.npz"
        with exclusive(folder):
            if path.exists():
                try:
                    return self._read(path.read_bytes())
                except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                    _log.warning(f"{path}: is damaged ({error}). The teacher is fitted again")
            outputs = self._compute()
            file = io.BytesIO()
            np.savez(file, **outputs)  # type: ignore[arg-type]  # numpy's hint takes the names for its own parameters
            write_bytes(path, file.getvalue())
        return outputs

    def _read(self, content: bytes) -> dict[str, NDArray[np.float32]]:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            outputs = {task.name: file[task.name] for task in self._taught.tasks}
        for task in self._taught.tasks:
            shape = (len(self._train), *([len(task.classes)] if task.classes else []))
            if outputs[task.name].shape != shape or not np.isfinite(outputs[task.name]).all():
                raise ValueError(
                    f"the predictions of {task.name!r} are not finite numbers of shape {list(shape)}"
                )
        return outputs

    def _compute(self) -> dict[str, NDArray[np.float32]]:
        outputs: dict[str, NDArray[np.float32]] = {}
        for fold in self._folds:
            parts = {part: self._places[self._train[fold.parts[part]]] for part in PARTS}
            self._taught.check_trainable(parts)
            prepared = prepare(
                self._teacher,
                self._taught,
                Split(parts, self._taught.ids),
                self._teacher.seeds[0],
                _CPU,
                sets=("train", "test"),
            )
            make_fitter(prepared, Scorer(prepared), "min").fit(1, lambda *_: None)
            predicted = collect_predictions(
                prepared.network, prepared.batches["test"], self._taught.tasks, _CPU, "float32"
            )
            # In the order of the training set, not in that of the teacher's tracks.
            order = {index: place for place, index in enumerate(predicted.indices.tolist())}
            rows = [order[index] for index in parts["test"].tolist()]
            for name, values in predicted.values.items():
                whole = outputs.setdefault(
                    name, np.full((len(self._train), *values.shape[1:]), np.nan, dtype=np.float32)
                )
                whole[fold.parts["test"]] = values.numpy()[rows]
        return outputs

    def _key(self) -> str:
        """Return a checksum of everything on which the predictions depend."""
        resolved = self._teacher.resolved()
        identity = identify_data(self._taught)
        ids = self._tracks.ids
        depends = [
            _VERSION,
            self._teacher.seeds[0],
            [resolved.get(name) for name in ("features", "scaling", "model")],
            [(one.kept, one.sha256) for one in self._teacher.code],
            [identity.tasks, identity.labels, identity.features],
            [[ids[self._train[place]] for place in fold.parts["test"]] for fold in self._folds],
        ]
        return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _inner_split(experiment: Experiment, folds: int) -> SplitSettings:
    """Return the settings of the inner folds: stratified and grouped like the split of the experiment."""
    return experiment.split.model_copy(
        update={
            "method": "kfold",
            "path": None,
            "validation": 0.0,
            "draw": "stratified",
            "together": False,
            "shuffle": True,
            "folds": folds,
            "repeats": 1,
            "fold": None,
            "grouped": experiment.split.by_groups,
        }
    )
