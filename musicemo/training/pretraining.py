"""Pretraining of a backbone without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.data import AppliedAugmentation, Augmentations, Batch, Batches, Features, Tracks
from musicemo.errors import InputError, RunError
from musicemo.training.network import Network
from musicemo.training.optimization import trainable
from musicemo.training.settings import PretrainingSettings, TrainingSettings

__all__ = ["Contrast", "contrastive_loss"]


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


class Contrast:
    """Trains a backbone so that two changed versions of a track are nearer to each other than to other tracks.

    Each batch of the training set is augmented twice. The embeddings of both versions go through a hidden layer of
    their own size and ReLU to a projection, and Adam minimizes `contrastive_loss` of the projections. Labels are not
    used. The hidden layer and the projection are dropped afterwards, as in CLMR.

    J. Spijkervet, J. A. Burgoyne, "Contrastive Learning of Musical Representations", ISMIR 2021; A. Saeed, D. Grangier,
    N. Zeghidour, "Contrastive Learning of General-Purpose Audio Representations", ICASSP 2021.

    Args:
        settings: epochs, temperature and so on.
        training: size and kind of the batches.
        network: the network, on its device.
        features: the scaled features of all tracks.
        tracks: the tracks.
        indices: the tracks of the training set.
        augmentations: the augmentations, which make the views.
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
        self._device = device
        self._views = []
        for view in (1, 2):  # the same order, with other changes than each other and the training afterwards
            changes = Augmentations(augmentations, tracks.tasks, (seed, view))
            batches = Batches(
                features,
                tracks.targets,
                indices,
                training.batch_size,
                seed=seed,
                bucket=training.bucket,
                series=tracks.series,
                augmentations=changes,
            )
            batches.join_single = True  # a track alone has nothing to differ from
            self._views.append(batches)

    def check(self) -> None:
        """Compute the embeddings of two views of the first batch, so that what would fail in pretraining fails here.

        Raises:
            InputError: nothing can be trained, or the views cannot be used.
        """
        if not self._parameters():
            raise InputError(
                "all parameters of the backbone are frozen or it has none: nothing can be pretrained"
            )
        if self._views[0].smallest < 2:
            raise InputError("needs batches of at least 2 tracks. Use a larger training.batch_size")
        one, other = (next(views.epoch(1, batches=slice(1))) for views in self._views)
        if one.more or other.more:
            raise InputError(
                "an augmentation mixes tracks, so a view is not of one track. Remove it from augment, such as mixup"
            )
        if one.x.shape == other.x.shape and torch.equal(one.x, other.x):
            raise InputError(
                "both views of the first batch are equal: the augmentations did not change it. Use augmentations "
                "such as crop that change the tracks"
            )

    def epochs(self) -> Iterator[float]:
        """Train the backbone; yield the mean loss of each epoch after it.

        Raises:
            RunError: a loss or a gradient is not finite.
        """
        network, settings = self._network, self.settings
        size: int = network.backbone.embedding_size  # type: ignore[assignment]  # a network checks that it is an integer
        projector = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, settings.projection))
        projector.to(self._device)
        parameters = [*self._parameters(), *projector.parameters()]
        optimizer = torch.optim.Adam(parameters, settings.lr)
        for epoch in range(1, settings.epochs + 1):
            network.train()
            total, count = 0.0, 0
            pairs = zip(*(views.epoch(epoch) for views in self._views), strict=True)
            for number, (one, other) in enumerate(pairs, start=1):
                projections = [projector(self._embed(batch)) for batch in (one, other)]
                loss = contrastive_loss(projections[0], projections[1], settings.temperature)
                where = f"pretraining: epoch {epoch}, batch {number}"
                if not math.isfinite(value := float(loss.detach())):
                    raise RunError(f"{where}: the loss is {value}")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                gradients = [one.grad for one in parameters if one.grad is not None]
                if not torch.nn.utils.get_total_norm(gradients).isfinite():
                    raise RunError(f"{where}: a gradient is not finite (loss: {value:.4g})")
                optimizer.step()
                total, count = total + value * len(one.indices), count + len(one.indices)
            yield total / count
        network.zero_grad()

    def _parameters(self) -> list[nn.Parameter]:
        return [*trainable(self._network.backbone), *trainable(self._network.sums)]

    def _embed(self, batch: Batch) -> Tensor:
        x, lengths = batch.x.to(self._device), batch.lengths.to(self._device)
        embedding: Tensor = self._network.backbone(self._network.combine(x), lengths)
        return embedding.float()
