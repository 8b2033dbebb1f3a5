"""Compare feature extractors with bare calls of the libraries, and measure training from the cache.

    python benchmarks/features.py                         # both parts
    python benchmarks/features.py extract --seconds 30    # extraction only
    python benchmarks/features.py train --tracks 20000    # training only

extract: Each extractor analyzes a WAV file as in a run: decoding, the computation, its checks, and the conversion to
decibels. The bare call is the same decoding, followed by the plain calls of the library. Both alternate, on one core;
times are CPU times of this process, the median over rounds. `x real time` is seconds of audio per second of one core.

train: A dataset of tracks of 30 seconds with eight streams of 768 rows, one time step each 3 seconds in float16, as
from layers of a pretrained network. The values are random. The features are extracted into a cache; then a probe is
trained for two epochs. With `training.cache = "disk"` it reads all tracks from the cache in each epoch; with "memory"
it keeps them in float32. Memory is the largest of the process: its private memory, and pages of mapped files, which are
the system's cache and are freed when memory is short.
"""

from __future__ import annotations

import os

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Collection, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from musicemo.contracts import Extraction, Output, Target, Track  # noqa: E402

RATE = 22050
STREAMS, ROWS, STEP, SECONDS = 8, 768, 3.0, 30.0

Bare = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Case:
    """An extractor with its parameters, and the function that makes the bare call."""

    type: str
    bare: Callable[..., Bare]
    parameters: dict[str, Any] = field(default_factory=dict)
    grid: str = "frame"
    package: str = "librosa"
    rate: int = RATE
    #: Writes a model into a folder, which is a parameter of the extractor, and the argument of `bare`.
    prepare: Callable[[Path], object] | None = None

    @property
    def label(self) -> str:
        """The type and the parameters."""
        return " ".join([self.type, *map(str, self.parameters.values())])


def mel_chroma() -> Bare:
    """Return the calls of librosa that the original study makes, without pooling by beat."""
    import librosa

    def call(samples: np.ndarray) -> Any:
        _, percussive = librosa.effects.hpss(samples)
        librosa.beat.beat_track(y=percussive, sr=RATE)
        power = librosa.feature.melspectrogram(y=samples, sr=RATE)
        return librosa.power_to_db(power, ref=np.max), librosa.feature.chroma_cqt(y=samples, sr=RATE)

    return call


def log_mel() -> Bare:
    """Return the calls of librosa for a mel spectrogram in decibels."""
    import librosa

    return lambda samples: librosa.power_to_db(
        librosa.feature.melspectrogram(y=samples, sr=RATE), ref=np.max, top_db=80
    )


def mfcc() -> Bare:
    """Return the calls of librosa for cepstral coefficients and their first two differences."""
    import librosa

    def call(samples: np.ndarray) -> Any:
        values = librosa.feature.mfcc(y=samples, sr=RATE)
        return values, librosa.feature.delta(values), librosa.feature.delta(values, order=2)

    return call


def waveform() -> Bare:
    """Return a copy of the samples."""
    return lambda samples: samples[:, None].copy()


def opensmile(feature_set: str, level: str) -> Callable[[], Bare]:
    """Return what makes the call of the package opensmile."""

    def bare() -> Bare:
        from opensmile import FeatureLevel, FeatureSet, Smile

        smile = Smile(FeatureSet[feature_set], FeatureLevel[level])
        return lambda samples: smile.process_signal(samples, RATE)

    return bare


def musicnn() -> Bare:
    """Return the spectrogram and the network of musicnn, on all windows at once."""
    import torch
    from musicemo_musicnn.extractor import MusiCNNFeatures
    from musicemo_musicnn.spectrogram import log_mel

    extractor = MusiCNNFeatures(device="cpu")
    size = extractor.window

    def call(samples: np.ndarray) -> Any:
        with torch.inference_mode():
            spectrogram = log_mel(samples, 0, len(samples) // 256, torch.device("cpu"))
            return extractor.network(torch.stack(list(spectrogram.split(size)[: len(spectrogram) // size])))

    return call


def write_wav2vec2(folder: Path) -> None:
    """Write a wav2vec 2.0 network of six layers of 256 units, with random weights."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    layers = {"num_hidden_layers": 6, "num_attention_heads": 4, "hidden_size": 256, "intermediate_size": 1024}
    Wav2Vec2Model(Wav2Vec2Config(**layers)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=True).save_pretrained(folder)


def wav2vec2(folder: Path) -> Bare:
    """Return the calls of transformers, on windows of five seconds."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModel

    processor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def call(samples: np.ndarray) -> Any:
        results = []
        with torch.inference_mode():
            for begin in range(0, len(samples), 5 * 16000):
                inputs = processor(samples[begin : begin + 5 * 16000], sampling_rate=16000, return_tensors="pt")
                results.append(model(**inputs, output_hidden_states=True).hidden_states)
        return results

    return call


CASES = [
    Case("mel-chroma", mel_chroma),
    Case("log-mel", log_mel),
    Case("mfcc", mfcc),
    Case("waveform", waveform, package="numpy"),
    Case(
        "opensmile",
        opensmile("eGeMAPSv02", "Functionals"),
        {"feature_set": "eGeMAPSv02", "level": "functionals"},
        "track",
        "opensmile",
    ),
    Case(
        "opensmile",
        opensmile("ComParE_2016", "LowLevelDescriptors"),
        {"feature_set": "ComParE_2016", "level": "lld"},
        package="opensmile",
    ),
    Case("musicnn", musicnn, grid="track", package="musicemo_musicnn", rate=16000),
    Case("transformers", wav2vec2, {}, "track", "transformers", 16000, write_wav2vec2),
]


def music(seconds: float) -> np.ndarray:
    """Return chords with clicks and noise, `[samples]`."""
    generator = np.random.default_rng(0)
    moments = np.arange(int(seconds * RATE)) / RATE
    chord = (2 * moments).astype(int)
    samples = 0.01 * generator.standard_normal(len(moments))
    for voice, semitones in enumerate((0, 4, 7)):
        hertz = 220 * 2 ** ((semitones + (5 * chord + voice) % 12) / 12)
        samples += 0.1 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)
    samples += 0.3 * np.exp(-150 * (2 * moments % 1)) * generator.standard_normal(len(moments))
    return samples.astype(np.float32)


def measure_extraction(seconds: float, rounds: int, only: Collection[str]) -> None:
    """Print a table of the extractors."""
    import soundfile

    from musicemo.components import registry
    from musicemo.components.spec import make_component
    from musicemo.features import FeatureSettings, Recipe, Stream, load

    warnings.simplefilter("ignore")
    print(f"\n{seconds:g} s of audio, {rounds} rounds, one core")
    print(f"{'extractor':36}{'x real time':>13}{'bare library':>14}{'overhead':>10}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.wav"
        soundfile.write(path, music(seconds), RATE, subtype="PCM_16")
        for case in CASES:
            if only and case.type not in only:
                continue
            if importlib.util.find_spec(case.package) is None:
                print(f"{case.label:36}  not measured: {case.package} is not installed")
                continue
            parameters = dict(case.parameters)
            if case.prepare:
                parameters["model"] = folder
                case.prepare(Path(folder))
            component = make_component("features", case.type, registry.load("features", case.type), parameters)
            settings = FeatureSettings(grid=case.grid)  # type: ignore[arg-type]
            stream = Stream(case.type, component.parameters, component.build, settings)
            call = case.bare(Path(folder)) if case.prepare else case.bare()
            recipe = Recipe(sample_rate=case.rate)
            ways = (lambda: stream.compute(path), lambda: call(load(path, recipe)))  # noqa: B023
            times = np.zeros((rounds + 1, 2))
            for number in range(rounds + 1):
                for index, function in enumerate(ways):
                    begin = time.process_time()
                    function()
                    times[number, index] = time.process_time() - begin
            ours, bare = np.median(times[1:], axis=0)  # the first round compiles and imports
            print(f"{case.label:36}{seconds / ours:13.0f}{seconds / bare:14.0f}{ours / bare - 1:10.0%}")


# Training. The experiment names these classes by this file.


@dataclass(frozen=True)
class Second:
    """A second of silence with the track's number, which stands for a song of half a minute."""

    number: int

    @property
    def identity(self) -> str:
        """Text that is the same for equal samples."""
        return f"benchmark-{self.number:06d}"

    def samples(self) -> tuple[np.ndarray, int]:
        """Return samples at 1 kHz."""
        samples = np.zeros(1000, np.float32)
        samples[:2] = self.number / 2**20, 0.5
        return samples, 1000


class Songs:
    """Tracks with a random target.

    Args:
        tracks: How many.
    """

    targets = (Target("valence", "regression", range=(0.0, 1.0)),)

    def __init__(self, *, tracks: int) -> None:
        self.count = tracks

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks."""
        generator = np.random.default_rng(0)
        for number in range(self.count):
            yield Track(f"{number:06d}", targets={"valence": float(generator.random())}, audio=Second(number))


class Embeddings:
    """Random vectors, as from a layer of a pretrained network.

    Args:
        layer: Number of the layer.
    """

    sample_rate = 1000
    fingerprint = "1"
    device = "cpu"  # computed in this process, as those of a network

    def __init__(self, *, layer: int) -> None:
        self.outputs = {"layer": ROWS}
        self.layer = layer
        self.noise = np.random.default_rng(layer).standard_normal((4096, ROWS)).astype(np.float32)

    def extract(self, samples: np.ndarray, outputs: Collection[str]) -> Extraction:
        """Return ten steps that depend on the track's number."""
        first = round(float(samples[0]) * 2**20) * 7 % (len(self.noise) - 10)
        return Extraction({"layer": Output.regular(self.noise[first : first + int(SECONDS / STEP)], 0.1)})


EXPERIMENT = """
name = "features"
[dataset]
type = '{file}:Songs'
tracks = {tracks}
{streams}
[split]
method = "random"
[model]
type = "mlp"
[tasks.valence]
[training]
epochs = 2
batch_size = 64
device = "cpu"
early_stopping = {{ patience = false }}
[evaluation]
resamples = 100
"""

STREAM = """
[[features]]
type = '{file}:Embeddings'
name = "layer{layer}"
layer = {layer}
grid = "frame"
dtype = "float16"
"""


class Memory:
    """The largest memory of this process, in MB: private, and mapped pages."""

    def __init__(self) -> None:
        self.private = self.mapped = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the memory during a ``with`` statement."""
        self._thread.start()
        yield
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            lines = Path("/proc/self/status").read_text().splitlines()
            size = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines if line.startswith("Rss")}
            self.private = max(self.private, size["RssAnon"])
            self.mapped = max(self.mapped, size["RssFile"])


def train(folder: Path, cache: str) -> dict[str, float]:
    """Run the experiment in this process, and return what was measured."""
    from musicemo.components.hooks import Hooks
    from musicemo.experiment import load_experiment
    from musicemo.hookspecs import hookimpl
    from musicemo.running.execute import run_experiment

    moments: dict[str, float] = {}

    class Clock:
        @hookimpl
        def musicemo_run_started(self) -> None:
            moments["start"] = time.perf_counter()

        @hookimpl
        def musicemo_epoch_finished(self, record: Any) -> None:
            moments[f"epoch {record['epoch']}"] = time.perf_counter()

    hooks = Hooks()
    hooks.register(Clock(), "clock")
    memory = Memory()
    begin = time.perf_counter()
    with memory.watched():
        list(
            run_experiment(
                load_experiment(folder / "features.toml", [f"training.cache={cache}"]), folder / "runs", hooks
            )
        )
    return {
        "before training, s": moments["start"] - begin,
        "first epoch, s": moments["epoch 1"] - moments["start"],
        "second epoch, s": moments["epoch 2"] - moments["epoch 1"],
        "private memory, MB": memory.private,
        "mapped pages, MB": memory.mapped,
    }


def measure_training(tracks: int, folder: Path) -> None:
    """Extract the features, train from the cache, and print the results."""
    os.environ["MUSICEMO_CACHE"] = str(folder / "cache")
    streams = "".join(STREAM.format(file=Path(__file__).resolve(), layer=layer) for layer in range(STREAMS))
    text = EXPERIMENT.format(file=Path(__file__).resolve(), tracks=tracks, streams=streams)
    (folder / "features.toml").write_text(text)
    columns = {"extract, disk": "disk", "disk": "disk", "memory": "memory"}
    results = []
    for cache in columns.values():
        command = [sys.executable, __file__, "train", "--measure", str(folder), cache]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    size = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    shape = f"{STREAMS} streams of {ROWS} rows, {int(SECONDS / STEP)} steps"
    print(f"\n{tracks} tracks, {shape}; {size / 1e9:.2f} GB in the cache")
    print(f"{'':24}" + "".join(f"{name:>16}" for name in columns))
    for result in results:
        # An epoch reads the training set and, for its metrics, the validation set: 80 % of the tracks.
        result["tracks/s in an epoch"] = 0.8 * tracks / result["second epoch, s"]
    for name in results[0]:
        print(f"{name:24}" + "".join(f"{result[name]:16.1f}" for result in results))


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(
        description="Feature extractors against bare libraries, and training from the cache."
    )
    parser.add_argument("part", nargs="?", choices=("extract", "train"), help="what to measure; both otherwise")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the audio")
    parser.add_argument("--rounds", type=int, default=5, help="how often each extractor is measured")
    parser.add_argument("--only", nargs="*", default=(), help="extractors to measure; all otherwise")
    parser.add_argument(
        "--tracks", type=int, default=20_000, help="tracks to train on; 20,000 need 2.6 GB on the disk"
    )
    parser.add_argument("--folder", type=Path, help="where to write; the system's temporary folder otherwise")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        folder, cache = arguments.measure
        print(json.dumps(train(Path(folder), cache)))
        return
    if arguments.part != "train":
        measure_extraction(arguments.seconds, arguments.rounds, arguments.only)
    if arguments.part != "extract":
        with tempfile.TemporaryDirectory(prefix="musicemo-features-", dir=arguments.folder) as folder:
            measure_training(arguments.tracks, Path(folder))


if __name__ == "__main__":
    main()
