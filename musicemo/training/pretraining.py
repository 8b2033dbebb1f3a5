"""Pretraining of a backbone without labels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.data import AppliedAugmentation, Augmentations, Batch, Batches, Features, Tracks
from musicemo.errors import InputError, RunError
from musicemo.training.network import Network
from musicemo.training.optimization import trainable
from musicemo.training.settings import (
    ContrastSettings,
    MaskedSettings,
    PretrainingSettings,
    TrainingSettings,
)

__all__ = ["PRETRAININGS", "Contrast", "Masked", "Pretraining", "contrastive_loss", "mask_spans"]


def contrastive_loss(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    r"""Return the normalized temperature-scaled cross-entropy (NT-Xent) of two views of some tracks.

    With the 2n projections :math:`z_i`, of unit length, their similarities :math:`s_{ik} = \exp(z_i \cdot z_k / \tau)`
    and the index :math:`p(i)` of the other view of the track of i:

    .. math:: L = -\frac{1}{2n} \sum_i \log \frac{s_{i p(i)}}{\sum_{k \ne i} s_{ik}}

    T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020.

    Args:
        one: `[n, size]`, projections of the first views.
        other: `[n, size]`, of the second views of the same tracks.
        temperature: the temperature τ.
    """
    projections = nn.functional.normalize(torch.cat([one, other]), dim=1)
    similarity = projections @ projections.T / temperature
    same = torch.eye(len(projections), dtype=torch.bool, device=projections.device)
    partners = torch.arange(len(projections), device=projections.device).roll(len(one))
    return nn.functional.cross_entropy(similarity.masked_fill(same, -torch.inf), partners)


def mask_spans(
    lengths: NDArray[np.int64], steps: int, share: float, length: int, random: np.random.Generator
) -> Tensor:
    """Return `[batch, steps]`: which time steps are masked.

    Each track gets ``share * steps / length`` spans, rounded and at least one, at places of which all combinations
    without overlap have the same probability. A span has at most half the steps of its track, at least one step
    remains, and a track of one step is not masked.

    Args:
        lengths: `[batch]`, steps of each track.
        steps: steps of the longest track.
        share: share of the steps that are masked.
        length: steps of a span.
        random: the generator.
    """
    masked = np.zeros((len(lengths), steps), dtype=bool)
    for row, size in enumerate(lengths.tolist()):
        if size < 2:
            continue
        width = min(length, size // 2)
        count = min(max(round(share * size / width), 1), (size - 1) // width)
        starts = np.sort(random.choice(size - count * (width - 1), count, replace=False))
        starts += (width - 1) * np.arange(count)
        masked[row, starts[:, None] + np.arange(width)] = True
    return torch.from_numpy(masked)


class Pretraining(ABC):
    """Trains a backbone on the training set without labels, with Adam.

    Args:
        settings: epochs and so on.
        training: size and kind of the batches.
        network: the network, on its device.
        features: the scaled features of all tracks.
        tracks: the tracks.
        indices: the tracks of the training set.
        augmentations: the augmentations of the run.
        seed: seed of the order and of the augmentations.
        device: the device of the network.
    """

    def __init__(
        self,
        settings: PretrainingSettings,
        training: TrainingSettings,
        network: Network,
        features: Features,
        tracks: Tracks,
        indices: Sequence[int] | NDArray[np.intp],
        augmentations: Sequence[AppliedAugmentation],
        seed: int,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self._network = network
        self._rows = features.size
        self._seed = seed
        self._device = device
        self._views = []
        for view in range(1, settings.passes + 1):
            # The same order, with other changes than each other and the training afterwards.
            batches = Batches(
                features,
                tracks.targets,
                indices,
                training.batch_size,
                seed=seed,
                bucket=training.bucket,
                series=tracks.series,
                augmentations=Augmentations(augmentations, tracks.tasks, (seed, view)),
            )
            batches.join_single = True  # a track alone has nothing to differ from
            self._views.append(batches)

    def check(self) -> None:
        """Compute what the first batch needs, so that what would fail in pretraining fails here.

        Raises:
            InputError: nothing can be trained, or the objective does not fit the model, features or augmentations.
        """
        if not self._parameters():
            raise InputError(
                "all parameters of the backbone are frozen or it has none: nothing can be pretrained"
            )
        if self._views[0].smallest < 2:
            raise InputError("needs batches of at least 2 tracks. Use a larger training.batch_size")
        self._check([next(views.epoch(1, batches=slice(1))) for views in self._views])

    def epochs(self) -> Iterator[float]:
        """Train the backbone; yield the mean loss of each epoch after it.

        Raises:
            RunError: a loss or a gradient is not finite.
        """
        network = self._network
        output = self._output().to(self._device)
        parameters = [*self._parameters(), *output.parameters()]
        optimizer = torch.optim.Adam(parameters, self.settings.lr)
        for epoch in range(1, self.settings.epochs + 1):
            network.train()
            total, count = 0.0, 0
            batches = zip(*(views.epoch(epoch) for views in self._views), strict=True)
            for number, views in enumerate(batches, start=1):
                loss = self._loss(output, views, (epoch, number))
                where = f"pretraining: epoch {epoch}, batch {number}"
                if not math.isfinite(value := float(loss.detach())):
                    raise RunError(f"{where}: the loss is {value}")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                gradients = [one.grad for one in parameters if one.grad is not None]
                if not torch.nn.utils.get_total_norm(gradients).isfinite():
                    raise RunError(f"{where}: a gradient is not finite (loss: {value:.4g})")
                optimizer.step()
                tracks = len(views[0].indices)
                total, count = total + value * tracks, count + tracks
            yield total / count
        network.zero_grad()

    @abstractmethod
    def _check(self, views: Sequence[Batch]) -> None:
        """Check the first batch, see `check`."""

    @abstractmethod
    def _output(self) -> nn.Module:
        """Return the layers between the backbone and the loss, which are dropped after pretraining."""

    @abstractmethod
    def _loss(self, output: nn.Module, views: Sequence[Batch], place: tuple[int, int]) -> Tensor:
        """Return the loss of the views of a batch; `place` is its epoch and its number in it."""

    def _parameters(self) -> list[nn.Parameter]:
        return [*trainable(self._network.backbone), *trainable(self._network.sums)]


class Contrast(Pretraining):
    """Trains a backbone so that two changed versions of a track are nearer to each other than to other tracks.

    Each batch of the training set is augmented twice. The embeddings of both versions go through a hidden layer of
    their own size and ReLU to a projection, and the loss is `contrastive_loss` of the projections. The hidden layer and
    the projection are dropped afterwards, as in CLMR.

    J. Spijkervet, J. A. Burgoyne, "Contrastive Learning of Musical Representations", ISMIR 2021; A. Saeed, D. Grangier,
    N. Zeghidour, "Contrastive Learning of General-Purpose Audio Representations", ICASSP 2021.
    """

    settings: ContrastSettings

    def _check(self, views: Sequence[Batch]) -> None:
        one, other = views
        if one.more or other.more:
            raise InputError(
                "an augmentation mixes tracks, so a view is not of one track. Remove it from augment, such as mixup"
            )
        if one.x.shape == other.x.shape and torch.equal(one.x, other.x):
            raise InputError(
                "both views of the first batch are equal: the augmentations did not change it. Use augmentations "
                "such as crop that change the tracks"
            )

    def _output(self) -> nn.Module:
        size: int = self._network.backbone.embedding_size  # type: ignore[assignment]  # a network checks that it is an integer
        return nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, self.settings.projection))

    def _loss(self, output: nn.Module, views: Sequence[Batch], place: tuple[int, int]) -> Tensor:
        one, other = (output(self._embed(view)) for view in views)
        return contrastive_loss(one, other, self.settings.temperature)

    def _embed(self, batch: Batch) -> Tensor:
        x, lengths = batch.x.to(self._device), batch.lengths.to(self._device)
        embedding: Tensor = self._network.backbone(self._network.combine(x), lengths)
        return embedding.float()


class Masked(Pretraining):
    """Trains a backbone to predict masked time steps of a track from its other steps.

    In each track of a batch, spans of time steps are set to 0 (`mask_spans`). A linear layer predicts the scaled
    features of the masked steps from the embeddings of these steps. The loss is their mean squared or absolute error.
    Steps that an augmentation has set to 0 do not count. The linear layer is dropped afterwards.

    A. T. Liu, S. Yang, P. Chi, P. Hsu, H. Lee, "Mockingjay: Unsupervised Speech Representation Learning with Deep
    Bidirectional Transformer Encoders", ICASSP 2020. Deviations: any backbone; all masked steps are set to 0, none is
    kept or exchanged; one linear layer.
    """

    settings: MaskedSettings

    def _check(self, views: Sequence[Batch]) -> None:
        network, (batch,) = self._network, views
        name = type(network.backbone).__name__
        if network.sequence_size is None:
            raise InputError(
                f"model {name} has no embedding per time step (sequence_size and sequence), from which masked steps "
                "are predicted. Use another model, such as 'tdnn' or 'crnn'"
            )
        masked = self._mask(batch, (1, 1))
        if not masked.any():
            raise InputError(
                "the features have one time step per track: there are no other steps that a masked one could be "
                'predicted from. Use another features.grid, such as "beat"'
            )
        x = batch.x.to(self._device).requires_grad_()
        network.eval()  # in training, batch normalization makes every step depend on all others
        embeddings = self._embed(x.masked_fill(masked[:, :, None], 0.0), batch.lengths.to(self._device))
        (gradient,) = torch.autograd.grad(embeddings[masked].sum(), x, allow_unused=True)
        if gradient is None or not gradient.any():
            raise InputError(
                f"the embedding of a time step of model {name} does not depend on other steps, from which masked ones "
                "are predicted. Use another model, such as 'tdnn' or 'crnn'"
            )

    def _output(self) -> nn.Module:
        return nn.Linear(cast("int", self._network.sequence_size), self._rows)

    def _loss(self, output: nn.Module, views: Sequence[Batch], place: tuple[int, int]) -> Tensor:
        (batch,) = views
        x, masked = batch.x.to(self._device), self._mask(batch, place)
        embeddings = self._embed(x.masked_fill(masked[:, :, None], 0.0), batch.lengths.to(self._device))
        masked &= x.any(dim=2)
        errors: Tensor = output(embeddings[masked]) - x[masked]
        errors = errors.abs() if self.settings.loss == "mae" else errors.square()
        return errors.sum() / max(errors.numel(), 1)  # 0 if no masked step counts

    def _mask(self, batch: Batch, place: tuple[int, int]) -> Tensor:
        seed = np.random.SeedSequence((self._seed, 0, 1), spawn_key=place)
        masked = mask_spans(
            batch.lengths.numpy(),
            batch.x.shape[1],
            self.settings.share,
            self.settings.length,
            np.random.default_rng(seed),
        )
        return masked.to(self._device)

    def _embed(self, x: Tensor, lengths: Tensor) -> Tensor:
        backbone = cast("Any", self._network.backbone)
        embeddings: Tensor = backbone.sequence(self._network.combine(x), lengths)
        return embeddings.float()


#: Value of ``pretraining.type`` -> its class.
PRETRAININGS: Mapping[str, type[Pretraining]] = {"contrast": Contrast, "masked": Masked}
