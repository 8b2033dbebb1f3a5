"""Contract of estimators, which are fitted in one go."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Estimator, Target
from musicemo.testing._contract import Contract, check_pickle, check_tensors, difference, require

__all__ = ["TARGETS", "check_fitted"]

TARGETS = (
    Target("valence", "regression"),
    Target("energy", "regression"),
    Target("genre", "classification", classes=("folk", "jazz", "rock")),
    Target("mood", "tags", classes=("calm", "happy")),
)
"""What models are asked to predict here."""

_TOLERANCE = 1e-4
_TRACKS = 45


class _Lazy:
    """Tracks that can be iterated several times and nothing else, as in a run."""

    def __init__(self, tracks: Sequence[Tensor]) -> None:
        self._tracks = tracks

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tracks)


def check_fitted(
    contract: Contract, make: Callable[[int], Estimator], size: int, lengths: Sequence[int]
) -> None:
    """Check an estimator on tracks of the given lengths, some of which lack a target."""
    tracks, targets = _songs(size, lengths)
    estimator = make(0)
    with contract.clause("given", "looking at what it is given", essential=True):
        unknown = sorted(set(estimator.given) - {target.name for target in TARGETS})
        require(not unknown, f"it is given the labels of {unknown}, which are no tasks")
    with contract.clause("fit", "fitting it", essential=True):
        kept = [track.clone() for track in tracks], {name: value.clone() for name, value in targets.items()}
        estimator.fit(_Lazy(tracks), targets)
        changed = [not torch.equal(*pair) for pair in zip(tracks, kept[0], strict=True)]
        changed += [not torch.equal(targets[name].nan_to_num(), kept[1][name].nan_to_num()) for name in targets]
        require(not any(changed), "fitting changes the tracks or targets in place; they belong to the core")
        learnt = [name for name, value in estimator.named_parameters() if value.requires_grad]
        require(not learnt, f"{learnt} need a gradient, and there is none; what is fitted is kept as buffers")
    with contract.clause("shape", "predicting", essential=True):
        _check_shapes(_predict(estimator, tracks, targets), len(tracks))
    _check_predictions(contract, estimator, tracks, targets)
    _check_again(contract, make, estimator, tracks, targets)
    check_tensors(contract, estimator)


def _check_shapes(predictions: Mapping[str, Tensor], count: int) -> None:
    require(
        isinstance(predictions, Mapping),
        f"it returns {type(predictions).__name__}; an estimator returns task -> tensor",
    )
    require(
        set(predictions) == {target.name for target in TARGETS},
        f"it predicts {sorted(predictions)}; an estimator predicts every task, here {sorted(t.name for t in TARGETS)}",
    )
    for target in TARGETS:
        shape, expected = (
            list(predictions[target.name].shape),
            [count, len(target.classes)][: 1 + bool(target.classes)],
        )
        require(shape == expected, f"{target.name} of {count} tracks has shape {shape}; it must be {expected}")
        require(
            predictions[target.name].is_floating_point() and predictions[target.name].isfinite().all(),
            f"a prediction of {target.name} is not a finite floating-point number; all must be",
        )


def _check_predictions(
    contract: Contract, estimator: Estimator, tracks: Sequence[Tensor], targets: Mapping[str, Tensor]
) -> None:
    together = _predict(estimator, tracks, targets, extra=9)
    with contract.clause("chance", "predicting twice"):
        again = _predict(estimator, tracks, targets, extra=9)
        require(
            all(torch.equal(together[name], again[name]) for name in together),
            "the same batch has two predictions; nothing is left to chance there",
        )
    with contract.clause("padding", "predicting tracks one by one"):
        for index, track in enumerate(tracks[:8]):
            alone = _predict(
                estimator, [track], {name: value[index : index + 1] for name, value in targets.items()}
            )
            worst = max(_apart(together[name][index], alone[name][0]) for name in alone)
            require(
                worst <= _TOLERANCE,
                f"a track of {len(track)} frames has another prediction alone than in a padded batch, by {worst:.2g}; "
                "padding must not change a prediction",
            )
    with contract.clause("order", "predicting a batch backwards"):
        turned = {name: value.flip(0) for name, value in targets.items()}
        back = _predict(estimator, list(reversed(tracks)), turned)
        worst = max(_apart(back[name].flip(0), together[name]) for name in back)
        require(worst <= _TOLERANCE, f"tracks in another order have other predictions, by {worst:.2g}")


def _check_again(
    contract: Contract,
    make: Callable[[int], Estimator],
    estimator: Estimator,
    tracks: Sequence[Tensor],
    targets: Mapping[str, Tensor],
) -> None:
    expected = _predict(estimator, tracks, targets)
    with contract.clause("seed", "fitting it again"):
        again = make(0)
        again.fit(_Lazy(tracks), targets)
        predictions = _predict(again, tracks, targets)
        require(
            all(torch.equal(predictions[name], expected[name]) for name in predictions),
            "it learns something else from the same tracks under the same seed",
        )
    with contract.clause("state", "restoring its state_dict"):
        file = io.BytesIO()
        torch.save(estimator.state_dict(), file)
        file.seek(0)
        fresh = make(1)
        fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
        predictions = _predict(fresh, tracks, targets)
        require(
            all(torch.equal(predictions[name], expected[name]) for name in predictions),
            "another with its state_dict has other predictions; all that is learnt is in the state_dict",
        )
    arrived = check_pickle(contract, estimator)
    if arrived is not None:
        with contract.clause("pickle", "predicting after pickling"):
            predictions = _predict(arrived, tracks, targets)
            require(
                all(torch.equal(predictions[name], expected[name]) for name in predictions),
                "once pickled it has other predictions",
            )


@torch.no_grad()
def _predict(
    estimator: Estimator, tracks: Sequence[Tensor], targets: Mapping[str, Tensor], extra: int = 0
) -> dict[str, Tensor]:
    lengths = torch.tensor([len(track) for track in tracks])
    x = torch.nn.utils.rnn.pad_sequence(list(tracks), batch_first=True)
    x = torch.nn.functional.pad(x, (0, 0, 0, extra))
    predictions: dict[str, Tensor] = estimator.eval()(
        x, lengths, {name: targets[name] for name in estimator.given}
    )
    return predictions


def _apart(left: Tensor, right: Tensor) -> float:
    return difference(left, right) / max(1.0, float(right.abs().max()))


def _songs(size: int, lengths: Sequence[int]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return tracks whose first row determines the valence, the second the energy, and other rows the genre."""
    generator = torch.Generator().manual_seed(0)

    def tracks() -> Iterator[Tensor]:
        for index in range(_TRACKS):
            track = torch.randn(lengths[index % len(lengths)], size, generator=generator)
            track[:, 0] += 4 * valence[index]
            track[:, 1 % size] -= 4 * energy[index]
            track[:, (2 + index % 3) % size] += 2
            yield track

    valence, energy = torch.rand(2, _TRACKS, generator=generator)
    songs = list(tracks())
    targets = {"valence": valence, "energy": energy, "genre": (torch.arange(_TRACKS) % 3).float()}
    targets["valence"][[5, 9]] = torch.nan
    targets["genre"][3] = torch.nan
    targets["mood"] = torch.stack([energy < 0.4, valence > 0.6], 1).float()
    targets["mood"][7], targets["mood"][11, 0] = torch.nan, torch.nan
    return songs, targets
