"""Shapes of the files in a run directory, on which readers rely."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, create_model

from musicemo.evaluation import SCORES, TargetKind

__all__ = ["SECTIONS", "Environment", "Epoch", "ExperimentFile", "Results", "SplitFile"]

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
#: Integers that a float holds exactly.
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Text = Annotated[str, Field(strict=True)]


class _Shape(BaseModel):
    """An object with keys of fixed types. It may have further keys, on which no reader relies."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Ends(_Shape):
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None


class _ClassScores(_Shape):
    precision: Number | None
    recall: Number | None
    f1: Number | None
    support: Number


class _TagScores(_Shape):
    pr_auc: Number | None = None
    roc_auc: Number | None = None
    f1: Number | None = None
    precision: Number | None = None
    recall: Number | None = None
    support: Count
    tracks: Count


class _Thresholds(_Shape):
    part: Text | None
    values: dict[str, Number]


_Metrics = create_model(
    "_Metrics",
    __base__=_Shape,
    tracks=(Count, 0),
    per_class=(dict[str, _ClassScores] | None, None),
    confusion_matrix=(list[list[Number]] | None, None),
    per_tag=(dict[str, _TagScores] | None, None),
    left_out=(list[Text] | None, None),
    agreement=(Number | None, None),
    deviations=(dict[str, Number | None] | None, None),
    **dict.fromkeys(SCORES, (_Ends | None, None)),  # type: ignore[call-overload]
)


class _Task(_Shape):
    kind: TargetKind
    target: Text | None = None
    range: tuple[Number, Number] | None = None
    classes: list[Text] | None = None
    smoothing: Number | None = None


class _Split(_Shape):
    train: Text | None = None
    val: Text | None = None
    test: Text | None = None
    all: Text | None = None


class _Durations(_Shape):
    training: Annotated[Number, Field(ge=0, le=1e12)]
    evaluation: Annotated[Number, Field(ge=0, le=1e12)]


class _Monitor(_Shape):
    name: Text
    mode: Text


class _SelectionScores(_Shape):
    loss: Number | None = None
    excess: Number | None = None
    val: Number | None = None
    test: Number | None = None


def _metric(name: str) -> str:
    if name not in SCORES:
        raise ValueError(f"must be a metric ({', '.join(SCORES)})")
    return name


def _time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("must be a time with its offset from UTC")
    return text


class _Criterion(_Shape):
    epoch: Count
    tasks: dict[str, _SelectionScores]


class _Selection(_Shape):
    monitor: Text
    epoch: Count | None = None
    metrics: dict[str, Annotated[str, AfterValidator(_metric)]]
    criteria: dict[str, _Criterion]


class _Stopped(_Shape):
    reason: Text
    epoch: Count


class _Gradients(_Shape):
    steps: Count = 0
    conflict: Number | None = None
    norms: dict[str, Number] | None = None
    cosines: dict[str, dict[str, Number | None]] | None = None
    conflicts: dict[str, dict[str, Number | None]] | None = None


class _Transfer(_Shape):
    source: Text = Field(alias="from")
    loaded: list[Text]
    new: list[Text]
    frozen: list[Text]


class _Raters(_Shape):
    min: Number
    median: Number
    max: Number


class _Ceiling(_Shape):
    reliability: _Ends
    ceiling: Number | None
    reached: dict[str, _Ends] = Field(default_factory=dict)


class _Reliability(_Shape):
    tracks: Count
    raters: _Raters | None = None
    spearman: _Ceiling | None = None
    pearson: _Ceiling | None = None
    song_pearson: _Ceiling | None = None
    pooled_pearson: _Ceiling | None = None


class _Group(_Shape):
    tracks: Count
    spearman: Number | None = None
    mean: Number | None = None


class _Controlled(_Shape):
    spearman: _Ends | None
    group_alone: _Ends | None
    gain: _Ends | None
    within: _Ends | None
    partial: _Ends | None
    groups: dict[str, _Group]


class _ControlledParts(_Shape):
    by: Text
    parts: dict[str, dict[str, _Controlled]]
    labels: dict[str, dict[str, str]] = {}


class _Change(_Shape):
    before: Number | None
    after: Number | None


class _Calibrated(_Shape):
    skipped: Text | None = None
    map: dict[str, Any] | None = None
    parts: dict[str, dict[str, _Change]] = Field(default_factory=dict)


class _Calibration(_Shape):
    method: Text
    tasks: dict[str, _Calibrated]


class _Published(_Shape):
    system: Text
    source: Text
    scores: dict[str, dict[str, Number]]
    deviations: dict[str, dict[str, Number]] = Field(default_factory=dict)
    caveat: Text = ""


class _ProtocolSet(_Shape):
    tracks: Count
    expected: Count
    same: bool


class _Protocol(_Shape):
    name: Text
    title: Text
    reference: Text
    segments: Text
    metrics: dict[str, list[Text]]
    average: Literal["tracks", "folds"]
    sources: dict[str, Text]
    published: list[_Published]
    sets: dict[str, _ProtocolSet]
    departures: list[Text]
    dataset: Text | None = None
    scores: dict[str, _Metrics] | None = None  # type: ignore[valid-type]


class _SearchOf(_Shape):
    name: Text
    trial: Count
    study: Text | None = None
    nested: bool = False


class _Member(_Shape):
    name: Text
    seed: Count
    run: Text
    weight: Annotated[Number, Field(gt=0)]


class _Ensemble(_Shape):
    version: Text
    members: Annotated[list[_Member], Field(min_length=1)]


class _SpreadScores(_Shape):
    crps: _Ends
    nll: _Ends
    deviation: Number
    coverage: dict[str, Number]
    reference: dict[str, Number] = Field(default_factory=dict)


class _Distribution(_Shape):
    type: Text
    listeners: _Raters
    parts: dict[str, _SpreadScores]


class _Process(_Shape):
    pid: Count
    host: Text


class Results(_Shape):
    """The file ``results.json``."""

    status: Literal["running", "done", "failed", "interrupted"]
    name: Text | None = None
    seed: Count | None = None
    fold: Count | None = None
    inner_fold: Count | None = None
    fingerprint: Text | None = None
    identity: dict[str, Text | None] | None = None
    started: Annotated[Text, AfterValidator(_time)] | None = None
    process: _Process | None = None
    launch: Text | None = None
    tasks: dict[str, _Task] | None = None
    warnings: list[Text] | None = None
    error: Text | None = None
    overfit_batches: Count | None = None
    resumed_after_epoch: Count | None = None
    best_epoch: Count | None = None
    epochs: Count | None = None
    monitor: _Monitor | None = None
    parameters: Count | None = None
    split: _Split | None = None
    metrics: dict[str, dict[str, _Metrics]] | None = None  # type: ignore[valid-type]
    durations: _Durations | None = None


#: Keys of ``results.json`` that a run may do without, and their shapes. A damaged one leaves the rest as it is.
SECTIONS: Mapping[str, TypeAdapter[Any]] = {
    name: TypeAdapter(shape)
    for name, shape in {
        "variant": dict[str, Any],
        "search": _SearchOf,
        "ensemble": _Ensemble,
        "stopped": _Stopped,
        "selection": _Selection,
        "gradients": _Gradients,
        "thresholds": dict[str, _Thresholds],
        "transfer": _Transfer,
        "reliability": dict[str, _Reliability],
        "controlled": _ControlledParts,
        "calibration": _Calibration,
        "distributions": dict[str, _Distribution],
        "protocol": _Protocol,
    }.items()
}


class SplitFile(_Shape):
    """The file ``split.json``."""

    hash: _Split = _Split()
    train: list[Text] = Field(default_factory=list)
    val: list[Text] = Field(default_factory=list)
    test: list[Text] = Field(default_factory=list)
    #: Checksums of the tracks' labels and features, eight characters a track.
    data: dict[str, Text] | None = None
    #: Track -> artist or album.
    groups: dict[str, Text] = Field(default_factory=dict)
    #: Classification target of the dataset -> track -> class.
    classes: dict[str, dict[str, Text]] = Field(default_factory=dict)


class Environment(_Shape):
    """The file ``environment.json``."""

    plugins: dict[str, Text | None] = Field(default_factory=dict)
    #: Distribution -> arguments of ``pip install``, of those from a folder or a URL.
    origins: dict[str, Text] = Field(default_factory=dict)


class Epoch(_Shape):
    """One line of ``history.jsonl``."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number | None]

    epoch: Annotated[Count, Field(ge=1)]


class _Training(_Shape):
    optimizer: dict[str, Any] | None = None
    early_stopping: dict[str, Any] | None = None
    threads: Count | None = None


class _SplitTable(_Shape):
    method: Text | None = None
    folds: Count | None = None


class _Loss(_Shape):
    type: Text
    weight: Number = 1.0


class _EvaluationTable(_Shape):
    confidence: Number = 0.95


class _TaskTable(_Shape):
    loss: _Loss | list[_Loss] | None = None


class ExperimentFile(_Shape):
    """The file ``experiment.toml``, as far as reports need it; `musicemo.experiment` validates all of it."""

    name: Text | None = None
    description: Text | None = None
    dataset: dict[str, Any] | list[dict[str, Any]] | None = None
    model: dict[str, Any] | None = None
    sharing: dict[str, Any] | None = None
    weighting: dict[str, Any] | None = None
    split: _SplitTable | None = None
    training: _Training | None = None
    transfer: dict[str, Any] | None = None
    evaluation: _EvaluationTable | None = None
    tasks: dict[str, _TaskTable] | None = None
