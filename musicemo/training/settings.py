"""The table ``[training]``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from musicemo.settings import Settings

__all__ = ["EarlyStoppingSettings", "OptimizerSettings", "ScheduleSettings", "TrainingSettings"]

Share = Annotated[float, Field(ge=0, lt=1)]


class _Optimizer(Settings):
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class Adam(_Optimizer):
    """Kingma and Ba (2015), "Adam: A Method for Stochastic Optimization"; weight decay is an L2 penalty."""

    type: Literal["adam"]
    betas: tuple[Share, Share] = (0.9, 0.999)


class AdamW(_Optimizer):
    """Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization"."""

    type: Literal["adamw"]
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.999)


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    type: Literal["sgd"]
    momentum: Share = 0.9
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
    final: float = Field(default=0.0, ge=0, le=1)


class StepDecay(_WithWarmup):
    """Times `factor` every `every` epochs."""

    type: Literal["step"]
    every: int = Field(gt=0)
    factor: float = Field(default=0.1, gt=0, lt=1)


class Plateau(Settings):
    """Times `factor` after more than `patience` epochs without a better value of what early stopping monitors."""

    type: Literal["plateau"]
    factor: float = Field(default=0.5, gt=0, lt=1)
    patience: int = Field(default=5, ge=0)


ScheduleSettings = Annotated[Constant | Cosine | StepDecay | Plateau, Field(discriminator="type")]


class EarlyStoppingSettings(Settings):
    """Which quantity chooses the best epoch, and how long to wait for a better one."""

    monitor: str = "val/loss"
    mode: Literal["auto", "min", "max"] = "auto"
    #: ``false`` trains every epoch.
    patience: Annotated[int, Field(ge=1)] | Literal[False] = 10
    #: What a value must improve by to count.
    min_delta: float = Field(default=0.0, ge=0)

    @field_validator("patience", mode="before")
    @classmethod
    def _epochs_or_false(cls, value: Any) -> Any:
        """Tell 0 from false, which pydantic takes for the same."""
        if value is False or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError("must be a number of epochs, 1 or more, or false to train every epoch")


class TrainingSettings(Settings):
    """How the network is fitted."""

    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=1)
    #: Put tracks of similar length together.
    bucket: bool = False
    #: Where features are kept: ``auto`` is memory if half of what is free is enough.
    cache: Literal["auto", "memory", "disk"] = "auto"
    optimizer: OptimizerSettings = Adam(type="adam")
    schedule: ScheduleSettings = Constant(type="constant")
    #: Scale gradients down to this norm.
    clip_gradient_norm: float | None = Field(default=None, gt=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
