"""The table ``[training]``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from musicemo.settings import Settings

__all__ = [
    "EarlyStoppingSettings",
    "OptimizerSettings",
    "ScheduleSettings",
    "TrainingSettings",
    "TransferSettings",
]

Share = Annotated[float, Field(ge=0, lt=1)]


class _Optimizer(Settings):
    #: Learning rate.
    lr: float = Field(default=1e-3, gt=0)
    #: Of the network's weights; a weighting's own parameters decay never.
    weight_decay: float = Field(default=0.0, ge=0)


class Adam(_Optimizer):
    """Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization"; weight decay is an L2 penalty."""

    type: Literal["adam"] = "adam"
    #: Decay of the running means of the gradient and of its square.
    betas: tuple[Share, Share] = (0.9, 0.999)


class AdamW(_Optimizer):
    """Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization"."""

    type: Literal["adamw"]
    #: Of the network's weights, apart from the gradient; a weighting's own parameters decay never.
    weight_decay: float = Field(default=0.01, ge=0)
    #: Decay of the running means of the gradient and of its square.
    betas: tuple[Share, Share] = (0.9, 0.999)


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    type: Literal["sgd"]
    #: Share of the last step that is taken again.
    momentum: Share = 0.9
    #: Whether to look ahead, as Nesterov's momentum does.
    nesterov: bool = False


OptimizerSettings = Annotated[Adam | AdamW | SGD, Field(discriminator="type")]


class Constant(Settings):
    """The learning rate stays."""

    type: Literal["constant"]


class _WithWarmup(Settings):
    #: Epochs in which the learning rate rises linearly.
    warmup: int = Field(default=0, ge=0)


class Cosine(_WithWarmup):
    """A half cosine down to `final` times the learning rate, which is reached as the last epoch ends."""

    type: Literal["cosine"]
    #: Share of the learning rate that is left at the end.
    final: float = Field(default=0.0, ge=0, le=1)


class StepDecay(_WithWarmup):
    """Times `factor` every `every` epochs."""

    type: Literal["step"]
    #: Epochs between two steps.
    every: int = Field(gt=0)
    #: What the learning rate is multiplied by.
    factor: float = Field(default=0.1, gt=0, lt=1)


class Plateau(Settings):
    """Times `factor` after more than `patience` epochs without a better value of what early stopping monitors."""

    type: Literal["plateau"]
    #: What the learning rate is multiplied by.
    factor: float = Field(default=0.5, gt=0, lt=1)
    #: Epochs to wait for a better value.
    patience: int = Field(default=5, ge=0)


ScheduleSettings = Annotated[Constant | Cosine | StepDecay | Plateau, Field(discriminator="type")]


class EarlyStoppingSettings(Settings):
    """Which quantity chooses the best epoch, and how long to wait for a better one."""

    #: Any quantity in ``history.jsonl``.
    monitor: str = "val/loss"
    #: Whether less of it is better, or more; ``auto`` knows losses and metrics.
    mode: Literal["auto", "min", "max"] = "auto"
    #: Epochs without a better value after which training ends; ``false`` trains every epoch.
    patience: Annotated[int, Field(ge=1)] | Literal[False] = 10
    #: What a value must improve by to count.
    min_delta: float = Field(default=0.0, ge=0)
    #: Keep a checkpoint of each task's best epoch too, that of its least validation loss.
    per_task: bool = False

    @field_validator("patience", mode="before")
    @classmethod
    def _epochs_or_false(cls, value: Any) -> Any:
        """Tell 0 from false, which pydantic takes for the same."""
        if value is False or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError("must be a number of epochs, 1 or more, or false to train every epoch")


class GradientDiagnosticsSettings(Settings):
    """How often the tasks' gradients on the shared parameters are compared: a backward pass per task each time."""

    #: The first of so many steps is measured.
    every: int = Field(default=10, ge=1)


class TrainingSettings(Settings):
    """How the network is fitted."""

    #: The most passes over the training part.
    epochs: int = Field(default=100, ge=1)
    #: Tracks a batch.
    batch_size: int = Field(default=32, ge=1)
    #: Put tracks of similar length together.
    bucket: bool = False
    #: Where features are kept: ``auto`` is memory if half of what is free is enough.
    cache: Literal["auto", "memory", "disk"] = "auto"
    #: What takes the steps.
    optimizer: OptimizerSettings = Adam()
    #: What becomes of the learning rate.
    schedule: ScheduleSettings = Constant(type="constant")
    #: Scale gradients down to this norm.
    clip_gradient_norm: float | None = Field(default=None, gt=0)
    #: Of the forward and backward pass; weights stay in 32 bits.
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    #: Where to train; ``auto`` is the GPU where there is one.
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    #: Processor threads to compute with: one where there are several runs, else all cores.
    threads: int | None = Field(default=None, ge=1)
    #: Which epoch is the best, and when to stop.
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    #: Measure how the tasks' gradients conflict.
    gradient_diagnostics: GradientDiagnosticsSettings | None = None


class TransferSettings(Settings):
    """What an earlier run learnt, to begin with."""

    model_config = ConfigDict(serialize_by_alias=True)

    source: str = Field(
        alias="from",
        min_length=1,
        description="A run directory, an experiment's folder or its name in the folder of runs, or a checkpoint.",
    )
    #: Parameters that are not trained: the beginnings of their dotted names, or patterns such as ``*.normalization.*``.
    freeze: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    #: Whether features are scaled as for the source, which what was learnt expects, or as this training part says.
    scaling: Literal["source", "own"] = "source"
    #: What to do about test tracks that the source was trained on.
    leaks: Literal["refuse", "warn"] = "refuse"
