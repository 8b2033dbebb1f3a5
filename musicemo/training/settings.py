"""The table ``[training]``."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from musicemo.settings import Settings

__all__ = [
    "SWA",
    "AverageSettings",
    "ContrastSettings",
    "EarlyStoppingSettings",
    "MaskedSettings",
    "OptimizerSettings",
    "PretrainingSettings",
    "ScheduleSettings",
    "TrainingSettings",
    "TransferSettings",
]

_DEVICE = r"^(auto|cpu|cuda(:\d+)?|mps)$"

Share = Annotated[float, Field(ge=0, lt=1)]


class _Optimizer(Settings):
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of the network's weights. The parameters of a weighting have none."""
    decay: Literal["all", "weights"] = "all"
    """Parameters of the network that weight decay applies to: ``all``, or the ``weights``, without biases, the
    parameters of normalization layers, and other parameters of fewer than two dimensions."""
    rates: dict[Annotated[str, Field(min_length=1)], Annotated[float, Field(gt=0)]] | None = None
    """Factors of the learning rate of some parameters of the network, by prefixes of their dotted names or patterns, as
    in ``transfer.freeze``: ``{ backbone = 0.1 }``. Of several that match, the longest counts."""


class Adam(_Optimizer):
    """Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization"; weight decay is an L2 penalty."""

    type: Literal["adam"] = "adam"
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay rates of the running means of the gradient and its square."""


class AdamW(_Optimizer):
    """Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization"."""

    type: Literal["adamw"]
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of the network's weights. The parameters of a weighting have none."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay rates of the running means of the gradient and its square."""


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    type: Literal["sgd"]
    momentum: Share = 0.9
    """Momentum factor."""
    nesterov: bool = False
    """Whether to use Nesterov momentum."""


OptimizerSettings = Annotated[Adam | AdamW | SGD, Field(discriminator="type")]


class Constant(Settings):
    """Constant learning rate."""

    type: Literal["constant"]


class _WithWarmup(Settings):
    warmup: int = Field(default=0, ge=0)
    """Number of warmup epochs, in which the learning rate rises linearly."""


class Cosine(_WithWarmup):
    """Cosine decay of the learning rate to `final` times its initial value at the end of the last epoch."""

    type: Literal["cosine"]
    final: float = Field(default=0.0, ge=0, le=1)
    """Final learning rate, as a fraction of the initial one."""


class StepDecay(_WithWarmup):
    """Learning rate multiplied by `factor` every `every` epochs."""

    type: Literal["step"]
    every: int = Field(gt=0)
    """Number of epochs between two steps."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """Factor by which each step multiplies the learning rate."""


class Plateau(Settings):
    """Learning rate multiplied by `factor` after more than `patience` epochs without a better monitored value."""

    type: Literal["plateau"]
    factor: float = Field(default=0.5, gt=0, lt=1)
    """Factor by which each reduction multiplies the learning rate."""
    patience: int = Field(default=5, ge=0)
    """Number of epochs without improvement before a reduction."""


ScheduleSettings = Annotated[Constant | Cosine | StepDecay | Plateau, Field(discriminator="type")]


class EarlyStoppingSettings(Settings):
    """The quantity that selects the best epoch, and the condition for stopping early."""

    monitor: str = "val/loss"
    """Monitored quantity: any key of ``history.jsonl``."""
    mode: Literal["auto", "min", "max"] = "auto"
    """Whether a lower (``min``) or a higher (``max``) value is better. ``auto`` knows losses and metrics."""
    patience: Annotated[int, Field(ge=1)] | Literal[False] = 10
    """Number of epochs without improvement after which training stops. ``false`` trains every epoch."""
    min_delta: float = Field(default=0.0, ge=0)
    """Minimum improvement that counts."""
    per_task: bool = False
    """Whether to also keep a checkpoint for each task, of the epoch with its lowest validation loss."""

    @field_validator("patience", mode="before")
    @classmethod
    def _epochs_or_false(cls, value: Any) -> Any:
        """Tell 0 from false, which pydantic takes for the same."""
        if value is False or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError("must be a number of epochs, 1 or more, or false to train every epoch")


class GradientDiagnosticsSettings(Settings):
    """Comparison of the tasks' gradients with respect to the shared parameters. Each costs a backward pass per task."""

    every: int = Field(default=10, ge=1)
    """Number of optimizer steps between two measurements."""


class EMA(Settings):
    """Exponential moving average of the weights after each optimizer step."""

    type: Literal["ema"] = "ema"
    decay: float = Field(default=0.999, gt=0, lt=1)
    """Decay per optimizer step. After step t it is at most ``(1 + t) / (10 + t)``."""


class SWA(Settings):
    """Stochastic weight averaging: mean of the weights after each epoch, from an epoch on.

    The statistics of batch normalization are recomputed on the training set with the averaged weights.
    """

    type: Literal["swa"]
    start: int = Field(ge=1)
    """First epoch whose weights count. The epochs before it are evaluated with their own weights."""


def _with_type(table: Any) -> Any:
    """Return a table of an average with its type, which is ``ema`` by default."""
    return {"type": "ema", **table} if isinstance(table, dict) else table


AverageSettings = Annotated[EMA | SWA, Field(discriminator="type"), BeforeValidator(_with_type)]


class TrainingSettings(Settings):
    """The table ``[training]``."""

    epochs: int = Field(default=100, ge=1)
    """Maximum number of epochs."""
    batch_size: int = Field(default=32, ge=1)
    """Number of tracks in a batch."""
    bucket: bool = False
    """Whether to put tracks of similar length into the same batch."""
    cache: Literal["auto", "memory", "disk"] = "auto"
    """Where features are kept during training. ``auto`` uses memory if they fit into half of the free memory."""
    optimizer: OptimizerSettings = Adam()
    """Optimizer."""
    schedule: ScheduleSettings = Constant(type="constant")
    """Learning-rate schedule."""
    accumulate: int = Field(default=1, ge=1)
    """Number of batches per optimizer step. Their gradients are averaged, weighted by the number of tracks."""
    clip_gradient_norm: float | None = Field(default=None, gt=0)
    """Maximum norm of the gradient. Larger gradients are scaled down to it."""
    average: AverageSettings | None = None
    """Average of the network's weights, which is evaluated and stored instead of the last ones."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the forward and backward pass. Weights stay in 32 bits."""
    device: Annotated[str, Field(json_schema_extra={"pattern": _DEVICE})] = "auto"
    """Device to train on: auto, cpu, cuda, cuda:N for the GPU with this number, or mps. ``auto`` uses the GPU if there
    is one."""
    processes: int = Field(default=1, ge=1)
    """Number of processes that train the network together. Each computes its share of every batch, on a GPU of its own
    or on the CPU. The gradient is that of a single process."""
    threads: int | None = Field(default=None, ge=1)
    """Number of CPU threads of a process. The default is one if several runs are trained side by side, and all cores,
    shared by the processes, otherwise."""
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    """Selection of the best epoch, and early stopping."""
    gradient_diagnostics: GradientDiagnosticsSettings | None = None
    """Measurement of conflicts between the tasks' gradients."""

    @field_validator("average")
    @classmethod
    def _within_epochs(cls, average: EMA | SWA | None, info: ValidationInfo) -> EMA | SWA | None:
        epochs = info.data.get("epochs")
        if isinstance(average, SWA) and epochs is not None and average.start > epochs:
            raise ValueError(f"start = {average.start} must be at most training.epochs, {epochs}")
        return average

    @field_validator("processes")
    @classmethod
    def _fewer_than_tracks(cls, processes: int, info: ValidationInfo) -> int:
        if processes > info.data.get("batch_size", processes):
            raise ValueError(
                f"must be at most training.batch_size, {info.data['batch_size']}: each process takes at least one "
                "track of a batch"
            )
        return processes

    @field_validator("device")
    @classmethod
    def _known(cls, name: str) -> str:
        if not re.match(_DEVICE, name):
            raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
        return name


class _Pretraining(Settings):
    epochs: int = Field(default=50, ge=1)
    """Number of epochs."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""


class ContrastSettings(_Pretraining):
    """Two augmented versions of a track get similar embeddings, other tracks different ones."""

    #: Passes through the network for each batch.
    passes: ClassVar = 2

    type: Literal["contrast"]
    temperature: float = Field(default=0.1, gt=0)
    """Temperature of the similarities."""
    projection: int = Field(default=128, ge=1)
    """Size of the projections that are compared."""


class MaskedSettings(_Pretraining):
    """Masked spans of time steps are predicted from the other steps of the track."""

    passes: ClassVar = 1

    type: Literal["masked"]
    share: float = Field(default=0.3, gt=0, lt=1)
    """Share of the time steps of a track that are masked."""
    length: int = Field(default=10, ge=1)
    """Length of a masked span, in time steps."""
    loss: Literal["mse", "mae"] = "mse"
    """Loss on the scaled features: mean squared (``mse``) or mean absolute error (``mae``)."""


#: The table ``[pretraining]``: training of the backbone without labels, before the tasks are learned.
PretrainingSettings = Annotated[ContrastSettings | MaskedSettings, Field(discriminator="type")]


class TransferSettings(Settings):
    """The table ``[transfer]``: an earlier run to start from."""

    model_config = ConfigDict(serialize_by_alias=True)

    source: str = Field(alias="from", min_length=1)
    """Run directory, experiment folder or its name in the folder of runs, or checkpoint to start from."""
    freeze: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Parameters that are not trained: prefixes of their dotted names, or patterns such as ``*.normalization.*``."""
    scaling: Literal["source", "own"] = "source"
    """Scaling of the features: that of the source run (``source``), or fitted on this training set (``own``)."""
    leaks: Literal["refuse", "warn"] = "refuse"
    """Treatment of test tracks that the source run was trained on: an error (``refuse``) or a warning (``warn``)."""
