"""`check_features`: what it lets pass, and which clause each kind of mistake breaks."""

from typing import Annotated, ClassVar

import numpy as np
import pytest
from pydantic import Field

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError
from musicemo.testing import ContractError, check_features

RATE = 1000


class Levels:
    """Level and peak of every tenth of a second, padded with zeros."""

    sample_rate = RATE
    fingerprint = "levels 1"
    neutral = ("block",)

    def __init__(self, *, hop: float = 0.1, block: Annotated[int, Field(gt=0)] = 16) -> None:
        self.hop, self.block = hop, block
        self.outputs = {"level": 1, "peaks": 2}

    def extract(self, samples, outputs):
        frames = self.frames(samples)
        results = {"level": self.level(frames), "peaks": np.stack([frames.max(1), frames.min(1)], axis=1)}
        return Extraction({name: self.output(results[name]) for name in outputs})

    def frames(self, samples):
        size = int(self.hop * RATE)
        return np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)

    def level(self, frames):
        blocks = [frames[begin : begin + self.block] for begin in range(0, len(frames), self.block)]
        return np.concatenate([np.sqrt((each**2).mean(1, keepdims=True)) for each in blocks])

    def output(self, values):
        return Output.regular(values.astype(np.float32), self.hop)


class Decibels(Levels):
    """Decibels relative to the maximum of the clip, which are computed after pooling."""

    def finish(self, values):
        if "level" not in values:
            return values
        level = 20 * np.log10(np.maximum(values["level"], 1e-5))
        return values | {"level": level - level.max()}


class WholeClip(Levels):
    """One vector for a clip, whatever its duration."""

    grid = "track"

    def extract(self, samples, outputs):
        edges = np.array([0.0, len(samples) / RATE])
        parts = super().extract(samples, outputs).outputs
        return Extraction(
            {name: Output(part.values.mean(0, keepdims=True), edges) for name, part in parts.items()}
        )


class Blocks(Levels):
    """Yields blocks of half a second, so that memory does not grow."""

    gap = 0.0

    def extract(self, samples, outputs):
        for begin in range(0, len(samples), RATE // 2):
            block = super().extract(samples[begin : begin + RATE // 2], outputs).outputs
            shift = begin / RATE * (1 + self.gap)
            yield Extraction({name: Output(each.values, each.edges + shift) for name, each in block.items()})


class Gaps(Blocks):
    gap = 0.01


class Refuses(Levels):
    """Reports clips that it cannot analyze."""

    def extract(self, samples, outputs):
        if len(samples) < RATE // 10 or not samples.any():
            raise InputError("the clip is silent or too short")
        return super().extract(samples, outputs)


class RefusesMusic(Levels):
    def extract(self, samples, outputs):
        raise InputError("the clip is too long")


class NoExtractor:
    sample_rate = RATE


class FloatRate(Levels):
    sample_rate = 22050.5


class NoOutputs(Levels):
    def __init__(self) -> None:
        super().__init__()
        self.outputs = {}


class NoFingerprint(Levels):
    fingerprint = ""


class UnknownNeutral(Levels):
    neutral = ("batch",)


class UnknownGrid(Levels):
    grid = "bar"


class TooFewNames(Levels):
    names: ClassVar = {"level": ["level"], "peaks": ["peak"]}


class BareArrays(Levels):
    def extract(self, samples, outputs):
        return {name: output.values for name, output in super().extract(samples, outputs).outputs.items()}


class Double(Levels):
    def output(self, values):
        return Output.regular(values.astype(np.float64), self.hop)


class Turned(Levels):
    def output(self, values):
        return Output.regular(values.T.astype(np.float32), self.hop)


class Centres(Levels):
    def output(self, values):
        return Output(values.astype(np.float32), (np.arange(len(values)) + 0.5) * self.hop)


class Backwards(Levels):
    def output(self, values):
        output = super().output(values)
        return Output(output.values, output.edges[::-1].copy())


class OneMissing(Levels):
    def extract(self, samples, outputs):
        return super().extract(samples, list(outputs)[:1])


class Raises(Levels):
    def extract(self, samples, outputs):
        raise RuntimeError("no idea")


class Logarithm(Levels):
    def level(self, frames):
        return np.log(super().level(frames))


class Normalized(Levels):
    def level(self, frames):
        level = super().level(frames)
        return (level - level.min()) / (level.max() - level.min())


class DropsRest(Levels):
    def extract(self, samples, outputs):
        size = int(self.hop * RATE)
        results = super().extract(samples, outputs).outputs
        return Extraction(
            {name: self.output(each.values[: len(samples) // size]) for name, each in results.items()}
        )


class InPlace(Levels):
    def extract(self, samples, outputs):
        samples -= samples.mean()
        return super().extract(samples, outputs)


class Samples(Levels):
    """Edges in frames instead of seconds."""

    def output(self, values):
        return Output.regular(values.astype(np.float32), 1.0)


class Reversed(Levels):
    def extract(self, samples, outputs):
        return super().extract(samples[::-1], outputs)


class Deaf(Levels):
    def frames(self, samples):
        return 0 * super().frames(samples)


class Relative(Levels):
    def level(self, frames):
        level = super().level(frames)
        return level / max(level.max(), 1e-9)


class Counts(Levels):
    def level(self, frames):
        return super().level(frames) + len(frames) / 1e3


class Chance(Levels):
    def level(self, frames):
        level = super().level(frames)
        return level + np.random.random(level.shape) / 1e6  # noqa: NPY002


class Remembers(Levels):
    calls = 0

    def level(self, frames):
        self.calls += 1
        return super().level(frames) + self.calls / 1e6


class Address(Levels):
    @property
    def fingerprint(self):
        return f"levels of {id(self)}"


class Together(Levels):
    """The level depends on which outputs are requested."""

    def extract(self, samples, outputs):
        scale = np.float32(1 + (len(outputs) == 1) / 100)
        return Extraction(
            {
                name: Output(scale * output.values, output.edges)
                for name, output in super().extract(samples, outputs).outputs.items()
            }
        )


class BlockDependent(Levels):
    def level(self, frames):
        level = super().level(frames)
        return level + np.arange(len(level))[:, None] % self.block / 100


class BlockInFingerprint(Levels):
    @property
    def fingerprint(self):
        return f"levels 1, {self.block}"


class LateBeats(Levels):
    def extract(self, samples, outputs):
        return Extraction(super().extract(samples, outputs).outputs, beats=np.array([0.5, 1e3]))


class FinishNeedsAll(Levels):
    def finish(self, values):
        return {"level": values["level"] - values["peaks"].max(), "peaks": values["peaks"]}


class FinishDrops(Decibels):
    def finish(self, values):
        return {"level": values["level"]}


class FinishNotFinite(Levels):
    def finish(self, values):
        return {name: each - np.log(np.abs(each).max()) for name, each in values.items()}


class BadDefault(Levels):
    def __init__(self, *, hop: Annotated[float, Field(gt=0)] = 0.0) -> None:
        super().__init__()


class GridTaken(Levels):
    def __init__(self, *, grid: str = "frame") -> None:
        super().__init__()


class NoAnnotation(Levels):
    def __init__(self, *, hop=0.1) -> None:
        super().__init__()


@pytest.mark.parametrize("extractor", [Levels, Decibels, WholeClip, Blocks, Refuses])
def test_an_extractor_that_holds_its_contract_passes(extractor):
    check_features(extractor, window=0.1)
    check_features(extractor, {"hop": 0.05, "block": 3})


@pytest.mark.parametrize(
    ("extractor", "clause", "words"),
    [
        (NoExtractor, "construction", "must have sample_rate, outputs, fingerprint"),
        (FloatRate, "declaration", "sample_rate is 22050.5"),
        (NoOutputs, "declaration", "at least one"),
        (NoFingerprint, "declaration", "fingerprint is ''"),
        (
            UnknownNeutral,
            "declaration",
            "'batch', which is not a constructor parameter (parameters: hop, block)",
        ),
        (UnknownGrid, "declaration", "grid is 'bar'; it is one of frame"),
        (TooFewNames, "declaration", "its names of 'peaks' are 1"),
        (BareArrays, "shape", "returns a dict; it returns a musicemo.contracts.Extraction"),
        (Double, "shape", "'level' are float64 [80, 1]; they are a float32 array"),
        (Turned, "shape", "here [time, 1]"),
        (Centres, "shape", "float64 [time + 1], here [81]"),
        (Backwards, "shape", "not ascending times"),
        (OneMissing, "shape", "'peaks', which was requested (returned: level)"),
        (Raises, "shape", "RuntimeError: no idea"),
        (RefusesMusic, "shape", "analyzing a clip raises InputError: the clip is too long"),
        (Gaps, "shape", "a block of 'level' does not start where the block before ends"),
        (LateBeats, "shape", "from 0 to the clip's duration of 8 s"),
        (Logarithm, "silence", "'level' has values that are not finite"),
        (DropsRest, "a clip of 10 ms", "at least one time step"),
        (InPlace, "input", "in place"),
        (FinishNeedsAll, "outputs", "computing one output alone raises KeyError"),
        (FinishDrops, "finite", "the outputs that it was called with"),
        (FinishNotFinite, "silence", "finish() returns values of 'level' that are not finite float32"),
        (Samples, "edges", "from 0 s to 80 s, though the clip has 8 s"),
        (Reversed, "times", "a click at 2.40 s changes the step of 'level' from 5.50 s to 5.60 s"),
        (Deaf, "times", "changes no value of 'level'"),
        (Relative, "times", "a click at 6.40 s changes the step of 'level' from"),
        (Counts, "what follows", "Compute what is relative to the whole clip in finish()"),
        (Chance, "determinism", "'level' of the same clip is different the second time"),
        (Remembers, "determinism", "depends on the samples and the parameters only"),
        (Address, "determinism", "has the fingerprint 'levels of"),
        (Together, "outputs", "'level' differs by 0.01 of the largest value if no other output is requested"),
        (BlockDependent, "neutral", "block = 1 changes 'level' by"),
        (BlockInFingerprint, "neutral", "changes the fingerprint"),
        (BadDefault, "defaults", "default of 'hop'"),
        (NoAnnotation, "annotations", "needs a type"),
        (GridTaken, "signature", "'grid' cannot be given, since that key of the table is musicemo's own"),
    ],
)
def test_each_mistake_breaks_its_clause(extractor, clause, words):
    with pytest.raises(ContractError) as caught:
        check_features(extractor, window=0.1)
    assert words in caught.value.problems[clause], str(caught.value)
    assert f"features {extractor.__name__} breaks its contract:" in str(caught.value)
    assert next(iter(caught.value.problems)) == clause


def test_a_clip_whose_values_are_all_equal_is_a_constant_signal_too():
    with pytest.raises(ContractError) as caught:
        check_features(Normalized)
    assert {"silence", "a constant signal", "a clip of one sample", "what follows"} <= set(
        caught.value.problems
    )


def test_what_looks_at_the_whole_clip_may_say_so():
    for extractor in (Relative, Counts, Reversed):
        with pytest.raises(ContractError, match=r"a step depends on at most (one window|1 s)"):
            check_features(extractor)
        check_features(extractor, window=np.inf)


class Hoarder(Levels):
    """Copies the samples a thousand times."""

    def frames(self, samples):
        return super().frames(np.tile(samples, (1000, 1)).mean(0))


@pytest.mark.slow
def test_memory_that_grows_with_the_clip():
    check_features(Levels, memory=True)
    with pytest.raises(ContractError, match=r"two minutes of audio need .* MiB more memory"):
        check_features(Hoarder, memory=True)


def test_parameters_that_do_not_fit():
    with pytest.raises(ContractError, match="block: input should be greater than 0"):
        check_features(Levels, {"block": 0})


def test_a_name_is_looked_up():
    with pytest.raises(InputError, match="no feature extractor has the name 'levles'"):
        check_features("levles")
