"""The network: a backbone, a sharing architecture, and a head per task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from musicemo.contracts import Estimator, Fitted, Sharing, TaskModules
from musicemo.data import HeadSettings, Task, columns
from musicemo.errors import InputError, nearest
from musicemo.ops import WeightedSum

__all__ = ["Head", "Network", "matching_parameters"]


class Head(nn.Sequential):
    """Dense layers from an embedding to ratings, scores `[batch]`, or logits of classes or tags `[batch, classes]`.

    Those of a series go from the embedding of each time step to ratings `[batch, time]`.
    """

    def __init__(self, size: int, task: Task, settings: HeadSettings) -> None:
        layers: list[nn.Module] = []
        for hidden in settings.hidden:
            layers += [nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(settings.dropout)]
            size = hidden
        layers.append(nn.Linear(size, task.outputs))
        if task.distribution:
            if settings.output != "linear":
                raise InputError(
                    f'output = "{settings.output}" is for single ratings, and the loss of {task.name!r} learns a '
                    f'distribution. Set tasks.{task.name}.head.output = "linear"'
                )
        elif not task.classes:
            if settings.output == "sigmoid" and task.rated:
                layers.append(nn.Sigmoid())
            if settings.output == "standardized" and task.rated:
                layers.append(_Destandardize())
            # [batch, 1] against targets [batch] would broadcast to [batch, batch]
            layers.append(nn.Flatten(1 if task.kind == "series" else 0))
        super().__init__(*layers)


class _Destandardize(nn.Module):
    """From values of mean 0 and standard deviation 1 to ratings: ``mean + deviation * x``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def fit(self, ratings: Tensor) -> None:
        """Take mean and standard deviation of the known ratings; equal ratings have the deviation 1."""
        known = ratings[ratings.isfinite()].double()
        if len(known):
            self.mean.fill_(float(known.mean()))
            self.deviation.fill_(float(known.std(correction=0)) or 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return ratings."""
        return self.mean + self.deviation * x


class Network(nn.Module):
    """`x` `[batch, time, feature]` and `lengths` `[batch]` to an embedding and, by task, predictions.

    Args:
        backbone: a `musicemo.contracts.Model`, which gets a head per task, or an `Estimator`, which needs none.
        tasks: the tasks.
        heads: task -> its head's settings.
        streams: stream -> its number of features, and how many outputs of this size are summed with learned weights; by
            default the backbone gets `x` as it is.
        excerpts: length in time steps and number of the excerpts of a track, evenly spaced, whose predictions are
            averaged in evaluation mode; not with series. None predicts from whole tracks.
        sharing: returns the sharing architecture of some tasks, from their names and the size of the embedding. It is
            called for the tasks with one target per track, and for the series, which have other embeddings. By default
            all heads get the embedding as it is.

    Raises:
        InputError: the backbone does not tell the size of its embedding, or has none per time step, which series need.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tasks: Sequence[Task],
        heads: Mapping[str, HeadSettings],
        streams: Mapping[str, tuple[int, int]] | None = None,
        excerpts: tuple[int, int] | None = None,
        sharing: Callable[[Sequence[str], int], Sharing] | None = None,
    ) -> None:
        super().__init__()
        self._excerpts = excerpts
        self._streams = dict(streams or {})
        #: Stream -> the learned sum of its outputs, for those that have one.
        self.sums = TaskModules(
            {name: WeightedSum(layers) for name, (_, layers) in self._streams.items() if layers > 1}
        )
        self._frozen: list[nn.Module] = []
        self.backbone = backbone
        #: ``embedding`` and ``sequence`` -> the sharing architecture of the tasks that are predicted from them.
        self.sharing = TaskModules()
        self.heads = TaskModules()
        places = {task.name: "sequence" if task.kind == "series" else "embedding" for task in tasks}
        #: Output of the backbone -> the tasks that are predicted from it.
        self._parts = {
            part: [name for name in places if places[name] == part]
            for part in ("embedding", "sequence")
            if part in places.values()
        }
        self._timed = self._parts.get("sequence", [])
        if self.estimator:
            return
        name, size = type(backbone).__name__, getattr(backbone, "embedding_size", None)
        if not isinstance(size, int):
            raise InputError(f"model {name} has no integer attribute embedding_size")
        steps = self.sequence_size
        if self._timed and steps is None:
            raise InputError(
                f"model {name} has no embedding per time step (sequence_size and sequence), which "
                f"{', '.join(map(repr, sorted(self._timed)))} {'need' if len(self._timed) > 1 else 'needs'} for "
                "ratings over time. Use another model, such as 'lstm' or 'crnn'"
            )
        sizes = {"embedding": size, "sequence": steps or 0}
        if sharing is not None:
            for part, names in self._parts.items():
                module = sharing(names, sizes[part])
                self.sharing[part] = module
                sizes[part] = module.size
        for task in tasks:
            self.heads[task.name] = Head(sizes[places[task.name]], task, heads[task.name])

    def forward(
        self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the embedding `[batch, embedding]`, of an estimator an empty one, and every task's predictions.

        With series, the embedding is that of the steps, `[batch, time, embedding]`, or with other tasks beside them
        both in one row, `[batch, values]`: the tensor that all predictions depend on.

        Args:
            x: features, zero from each track's length on.
            lengths: frames of each track.
            labels: task -> `[batch]` or `[batch, tags]`, of those that an estimator is given; see `known_labels`.

        Raises:
            InputError: a label that the estimator predicts from is not there.
        """
        if self.estimator is None:
            if self._excerpts and not self.training:
                return self._average_excerpts(x, lengths, *self._excerpts)
            embedding = self.embed(x, lengths)
            return embedding, self.predict(embedding)
        x = self.combine(x)
        labels = labels or {}
        if missing := [name for name in self.estimator.given if name not in labels]:
            raise InputError(f"the model predicts from the label of {missing[0]!r}, which is not known here")
        return x.new_empty(len(x), 0), self.estimator(x, lengths, labels)

    def _average_excerpts(
        self, x: Tensor, lengths: Tensor, length: int, count: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean embedding and the mean predictions of evenly spaced excerpts of each track.

        A track that is not longer than an excerpt is predicted as a whole.
        """
        spare = (lengths - length).clamp(min=0)
        shares = (
            torch.linspace(0, 1, count, device=x.device)
            if count > 1
            else torch.full((1,), 0.5, device=x.device)
        )
        starts = (shares * spare[:, None]).round().long()
        steps = starts[:, :, None] + torch.arange(length, device=x.device)
        inside = steps < lengths[:, None, None]
        steps = torch.minimum(steps, lengths[:, None, None] - 1)
        places = steps.flatten(1)[:, :, None].expand(-1, -1, x.shape[2])
        excerpts = x.gather(1, places).reshape(-1, length, x.shape[2]) * inside.reshape(-1, length, 1)
        several = lengths.clamp(max=length)[:, None].expand(-1, count).reshape(-1)
        embedding = self.embed(excerpts, several)
        predictions = self.predict(embedding)

        def mean(values: Tensor) -> Tensor:
            return values.reshape(-1, count, *values.shape[1:]).mean(dim=1)

        return mean(embedding), {name: mean(values) for name, values in predictions.items()}

    def embed(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding of `forward`: all that is computed track by track, before the heads."""
        x, backbone = self.combine(x), cast("Any", self.backbone)
        calls = {"embedding": backbone, "sequence": getattr(backbone, "sequence", None)}
        # In float32 also if the backbone is in double or half precision.
        return self.joined([calls[name](x, lengths).float() for name in self.embeddings])

    @staticmethod
    def joined(parts: Sequence[Tensor]) -> Tensor:
        """Return the outputs of the backbone that `embeddings` names as one tensor, from which `predict` takes them."""
        return parts[0] if len(parts) == 1 else torch.cat([part.flatten(1) for part in parts], dim=1)

    def predict(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return every task's predictions from the embedding."""
        representations = self.represent(embedding)
        return {name: head(representations[name]) for name, head in self.heads.items()}

    def represent(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return task -> its representation, the input of its head, from the embedding."""
        representations: dict[str, Tensor] = {}
        for part, rows in self.split(embedding).items():
            representations |= (
                self.sharing[part](rows) if part in self.sharing else dict.fromkeys(self._parts[part], rows)
            )
        return representations

    def split(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the backbone that `embeddings` names, of which `joined` made one tensor."""
        if len(self.embeddings) == 1:
            return {self.embeddings[0]: embedding}
        backbone: Any = self.backbone
        rest = embedding[:, backbone.embedding_size :]
        return {
            "embedding": embedding[:, : backbone.embedding_size],
            "sequence": rest.view(len(rest), -1, backbone.sequence_size),
        }

    def trained_by(self) -> tuple[list[nn.Parameter], dict[str, list[nn.Parameter]]]:
        """Return the trained parameters between the embedding and the predictions, by the tasks that use them.

        Returns:
            The parameters of the sharing architecture that several tasks use, and task -> the parameters of its head
            and those of the sharing architecture that it uses alone.
        """
        shared: list[nn.Parameter] = []
        single = {
            name: [parameter for parameter in head.parameters() if parameter.requires_grad]
            for name, head in self.heads.items()
        }
        for module in self.sharing.values():
            parameters = dict(module.named_parameters())
            for name, tasks in cast("Sharing", module).users().items():
                if len(tasks) == 1:
                    single[tasks[0]].append(parameters[name])
                elif tasks:
                    shared.append(parameters[name])
        return shared, single

    @property
    def embeddings(self) -> Sequence[str]:
        """The outputs of the backbone that the tasks need: ``embedding``, ``sequence`` or both."""
        return list(self._parts)

    @property
    def sequence_size(self) -> int | None:
        """Size of the backbone's embedding of each time step; None if it has none."""
        size = getattr(self.backbone, "sequence_size", None)
        return size if isinstance(size, int) and callable(getattr(self.backbone, "sequence", None)) else None

    @property
    def layer_weights(self) -> dict[str, list[float]]:
        """Stream -> the weights of its outputs in their learned sum, for those that have one."""
        return {name: list(map(float, module.weights)) for name, module in self.sums.items()}  # type: ignore[arg-type]  # torch's hint of a ModuleDict's values

    def combine(self, x: Tensor) -> Tensor:
        """Return the input of the backbone: `x` `[batch, time, feature]` with the learned sums taken."""
        if not self.sums:
            return x
        streams = torch.split(x, [size * layers for size, layers in self._streams.values()], dim=2)
        return torch.cat(
            [
                self.sums[name](stream) if name in self.sums else stream
                for name, stream in zip(self._streams, streams, strict=True)
            ],
            dim=2,
        )

    def fit_outputs(self, ratings: Mapping[str, Tensor]) -> None:
        """Fit the standardized outputs of the heads to the training set's ratings by task; NaN where unknown."""
        for name, head in self.heads.items():
            for layer in head.children():
                if isinstance(layer, _Destandardize):
                    layer.fit(ratings[name])

    def known_labels(self, targets: Tensor, tasks: Sequence[Task]) -> dict[str, Tensor]:
        """Return, of `targets` `[batch, columns]`, those that an estimator is given."""
        required = self.estimator.given if self.estimator else ()
        return {name: targets[:, place] for name, place in columns(tasks).items() if name in required}

    @property
    def estimator(self) -> Estimator | None:
        """The backbone, if it is one that is fitted instead of trained."""
        return self.backbone if isinstance(self.backbone, Estimator) else None

    @property
    def parameter_count(self) -> int:
        """Number of parameters that are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def take(self, state: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Load the weights and statistics that fit by name and shape.

        Returns:
            The names of those that were loaded, and of those that stay new.
        """
        current = self.state_dict()
        fit = {
            name: state[name]
            for name, value in current.items()
            if isinstance(state.get(name), Tensor) and _form(state[name]) == _form(value)
        }
        with torch.no_grad():
            self.load_state_dict({**current, **fit})
        return list(fit), [name for name in current if name not in fit]

    def freeze(self, patterns: Sequence[str]) -> list[str]:
        """Train the parameters no more whose names begin with, or match, one of the patterns.

        A module of which every parameter is frozen stays in evaluation mode: batch normalization keeps its
        statistics, and dropout passes everything on.

        Returns:
            Their names.

        Raises:
            InputError: a pattern that no parameter matches.
        """
        names = dict(self.named_parameters())
        frozen = dict.fromkeys(name for pattern in patterns for name in matching_parameters(names, pattern))
        for name in frozen:
            names[name].requires_grad_(False)
        self._frozen = [
            module
            for module in self.modules()
            if (inner := list(module.parameters())) and not any(one.requires_grad for one in inner)
        ]
        return list(frozen)

    def train(self, mode: bool = True) -> Network:
        """Set the mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def load(self, state: Mapping[str, Any], origin: str) -> None:
        """Load weights that must fit exactly.

        Raises:
            InputError: names what is missing, unknown or of another shape: a checkpoint of another network.
        """
        current = self.state_dict()
        if not isinstance(state, Mapping) or (current and not state):
            raise InputError(f"{origin}: is of another network, or damaged: it has no weights")
        flexible = {
            f"{path}.{buffer}"
            for path, module in self.named_modules()
            if isinstance(module, Fitted)
            for buffer in module._buffers
        }
        problems = [f"lacks {name}" for name in current if name not in state]
        problems += [f"has {name}, which this network has not" for name in state if name not in current]
        problems += [
            f"has {name} {_form(state[name])} where this network has {_form(value)}"
            for name, value in current.items()
            if name in state
            and name not in flexible
            and not is_lazy(value)
            and _form(state[name]) != _form(value)
        ]
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise InputError(f"{origin}: is of another network: it {'; '.join(problems[:3])}{more}")
        try:
            with torch.no_grad():
                self.load_state_dict(dict(state))
        except Exception as error:  # a stranger's set_extra_state may raise anything
            raise InputError(
                f"{origin}: its weights cannot be loaded: {type(error).__name__}: {error}"
            ) from error


def matching_parameters(names: Iterable[str], pattern: str) -> list[str]:
    """Return the names of parameters that begin with a pattern, up to a dot, or match it.

    Raises:
        InputError: no name does.
    """
    names = list(names)
    if matching := [
        name for name in names if f"{name}.".startswith(f"{pattern}.") or fnmatchcase(name, pattern)
    ]:
        return matching
    parts = {".".join(name.split(".")[: count + 1]) for name in names for count in range(4)}
    raise InputError(
        f"{pattern!r} matches no parameter{nearest(pattern, parts)} (parameters begin with "
        f"{', '.join(sorted({'.'.join(name.split('.')[:2]) for name in names}))})"
    )


def _form(value: Any) -> Any:
    """Return the shape of a tensor; extra states are of any form."""
    return list(value.shape) if isinstance(value, Tensor) else "an extra state"
