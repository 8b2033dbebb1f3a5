"""The batches of every part of a split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from musicemo.data import Augmentations, Batches, Features, Proportions, Split, Tracks, find_partners
from musicemo.errors import InputError
from musicemo.training import TrainingSettings

__all__ = ["make_batches"]


def make_batches(
    features: Features,
    tracks: Tracks,
    split: Split,
    training: TrainingSettings,
    seed: int,
    overfit_batches: int = 0,
    proportions: Mapping[str, float] | None = None,
    augmentations: Augmentations | None = None,
) -> dict[str, Batches]:
    """Return the batches of every part that has tracks; of some training batches alone, if that is asked for.

    Args:
        features: every track's features.
        tracks: the tracks.
        split: their parts.
        training: size and kind of batches.
        seed: decides the order of the training part.
        overfit_batches: how many of the training batches to have alone; 0 for all of every part.
        proportions: dataset -> its part of what is drawn to train on; without any, each track comes once an epoch.
        augmentations: change the examples of the training part, unless `overfit_batches` asks for some batches alone.
    """
    size, bucket = training.batch_size, training.bucket
    targets, series, parts = tracks.targets, tracks.series, _with_labels(tracks, split)
    train = parts["train"]
    partners = find_partners(tracks.pairs.values(), train) if tracks.pairs else None
    if overfit_batches:
        if partners:
            paired = Batches(features, targets, train, size, seed=seed, partners=partners).order(1)
            some = np.array(
                list(dict.fromkeys(np.concatenate(paired[:overfit_batches]).tolist())), dtype=np.intp
            )
        else:
            some = np.random.default_rng(seed).permutation(train)[: size * overfit_batches]
        return {"train": Batches(features, targets, some, size, series=series)}
    drawn = _proportions(tracks, train, proportions) if proportions else None
    batches = {
        "train": Batches(
            features,
            targets,
            train,
            size,
            seed=seed,
            bucket=bucket,
            proportions=drawn,
            series=series,
            partners=partners,
            augmentations=augmentations,
        )
    }
    for part in ("val", "test"):
        if len(parts[part]):
            batches[part] = Batches(features, targets, parts[part], size, bucket=True, series=series)
    return batches


def _with_labels(tracks: Tracks, split: Split) -> dict[str, NDArray[np.intp]]:
    """Return the tracks of each part that have a label, or are in a pair of which both tracks are in the part."""
    rated = np.asarray(np.isfinite(tracks.targets).any(axis=1))
    for series in tracks.series.values():
        rated |= np.array([one is not None for one in series])
    parts = {}
    for part, indices in split.parts.items():
        labeled = rated[indices]
        for pairs in tracks.pairs.values():
            labeled[pairs.within(indices).members.ravel()] = True
        parts[part] = indices[labeled]
    return parts


def _proportions(tracks: Tracks, train: NDArray[np.intp], proportions: Mapping[str, float]) -> Proportions:
    members = {name: np.intersect1d(indices, train) for name, indices in tracks.sources.items()}
    for name in proportions:
        if not len(members.get(name, ())):
            raise InputError(f"{name!r} has a proportion but no track in the training set")
    return Proportions([members[name] for name in proportions], list(proportions.values()))
