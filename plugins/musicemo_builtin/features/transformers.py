"""The `transformers` extractor: hidden states of an audio model of the transformers library."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from musicemo.contracts import Extraction
from musicemo.errors import InputError, RunError
from musicemo.files import expanded
from musicemo_builtin.features._device import DTYPES, choose_device
from musicemo_builtin.features._windows import cut, in_batches, merged

__all__ = ["Transformers"]

#: Architectures that read the waveform through strided convolutions.
_WAVEFORM = (
    "data2vec-audio",
    "hubert",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-conformer",
    "wavlm",
)

_UNUSED = frozenset({"masked_spec_embed"})
"""Weights that only training uses. Checkpoints that were fine-tuned often lack them."""


def _folder(value: Any) -> Any:
    """Return a path for text that is one, so that it is relative to the experiment's file; a hub name stays text."""
    if isinstance(value, str) and (value.startswith((".", "~")) or Path(value).is_absolute()):
        return Path(value)
    return value


class Transformers:
    """Hidden states of an audio model of the transformers library.

    ::

        [features]
        type = "transformers"
        model = "m-a-p/MERT-v1-95M"     # or a folder: "./models/MERT-v1-95M"
        outputs = ["layer5"]
        grid = "track"

    The output `layer0` is the input of the first transformer layer, and `layer1` to `layerN` are the outputs of the
    layers, as `output_hidden_states` of the library returns them:

    - Encoders of the waveform (wav2vec 2.0, HuBERT, WavLM, UniSpeech, data2vec, MERT): one time step per stride of the
      convolutions, which is 20 ms at 16 kHz. A MERT checkpoint whose configuration makes it a HuBERT network, as those
      of MERT-v1-95M and MERT-v1-330M do, is loaded as one, without the code of its repository.
    - Audio spectrogram transformer: one time step per patch, averaged over frequency.
    - Whisper: the encoder, one time step of 20 ms.
    - CLAP: one time step per window. `layer0` to `layerN` are the stages, averaged over time and frequency, and
      `embedding` is the projection that is compared with text. Checkpoints with feature fusion are not supported:
      their processor chooses parts of the audio at random.

    The clip is cut into windows. The model's processor normalizes each, and each is computed as if the library were
    called with it alone: windows are not padded to the length of others, so that neither the batch nor what follows the
    window has an influence. The last window ends with the clip. It is shorter, and padded with zeros only up to the
    receptive field of the convolutions, or as the processor does it. If a CLAP window would be less than half full, its
    audio is left to the time step before. Of windows that overlap, the steps nearer to the middle of a window are kept.

    Layers after those that are requested are neither loaded nor computed.

    Nothing is downloaded. `hf download m-a-p/MERT-v1-95M` fetches a model. Weights are read from safetensors, or from
    torch files without executing code.

    Args:
        model: Name on the Hugging Face hub, whose files are in the local cache; or a folder, which begins with ``./``,
            ``../``, ``~`` or ``/``.
        revision: Branch, tag or commit of the hub's repository.
        window: Duration of a window in seconds; by default 5, and the length that the model was built for if it has a
            fixed one.
        hop: Time between the starts of two windows in seconds; by default the duration of a window.
        precision: Number format of the computation.
        device: Device to compute on: auto, cpu, cuda, cuda:N or mps. ``auto`` uses the GPU if there is one.
        batch_size: Number of windows that are computed at once.
        trust_remote_code: Whether to execute the Python files that come with the model.
        pretrained_on: Corpora that the weights have seen, such as ``fma``.

    Raises:
        InputError: The library is not installed, the model is not in the cache, its folder is incomplete, it has
            another architecture, the window is longer than the model allows, or the device is not available.
    """

    neutral = ("model", "revision", "device", "batch_size", "trust_remote_code", "pretrained_on")
    executes = "trust_remote_code"
    grid = "segment"

    def __init__(
        self,
        *,
        model: Annotated[str | Path, AfterValidator(_folder)],
        revision: str | None = None,
        window: Annotated[float, Field(gt=0)] | None = None,
        hop: Annotated[float, Field(gt=0)] | None = None,
        precision: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "auto",
        batch_size: Annotated[int, Field(gt=0)] = 8,
        trust_remote_code: bool = False,
        pretrained_on: list[str] | None = None,
    ) -> None:
        _require_library()
        self.device = choose_device(device)
        self.pretrained_on = tuple(pretrained_on or ())
        self._batch_size = batch_size
        self._dtype = DTYPES[precision]
        self._checkpoint = _checkpoint(_folder(model), revision, trust_remote_code)
        self._encoder = encoder = _encoder(self._checkpoint)
        self.sample_rate = int(encoder.processor.sampling_rate)
        self.outputs = encoder.outputs
        seconds = encoder.window if window is None else window
        if seconds > encoder.longest:
            raise InputError(f"window: {seconds:g} s is longer than the model allows ({encoder.longest:g} s)")
        self._length = round(seconds * self.sample_rate)
        if self._length < encoder.shortest:
            least = encoder.shortest / self.sample_rate
            raise InputError(f"window: {seconds:g} s is shorter than what the model needs ({least:g} s)")
        self._hop = self._length if hop is None else round(hop * self.sample_rate)
        if not 0 < self._hop <= self._length:
            raise InputError(f"hop: must be at most the duration of a window, {seconds:g} s, not {hop:g} s")
        #: Number of layers and the network.
        self._loaded: tuple[int, nn.Module] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """The version of the library, and the hash of the configuration and the weights."""
        return f"transformers {_version('transformers')}{self._encoder.library} {self._checkpoint.digest()}"

    def _network(self, outputs: Sequence[str]) -> nn.Module:
        """Return the network with the layers that some outputs need; it is loaded when they are first requested."""
        layers = self._encoder.layers
        if layers:
            # The state after the last layer can have one more normalization, so that the layer after it is needed too.
            layers = min(layers, max(int(name.removeprefix("layer")) for name in outputs) + 1)
        if self._loaded is None or self._loaded[0] < layers:
            model = self._checkpoint.load(self._encoder, layers)
            self._loaded = layers, model.eval().requires_grad_(False).to(self.device, self._dtype)
        return self._loaded[1]

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Iterator[Extraction]:
        """Compute the hidden states of a clip, a batch of windows after the other."""
        names = [name for name in self.outputs if name in outputs]
        encoder = self._encoder
        rest = max(encoder.shortest, 0 if encoder.step else self._length // 2)
        windows = cut(len(samples), self._length, self._hop, shortest=rest)
        steps = dict.fromkeys(names, encoder.step or float(self._length))
        for batch in in_batches(windows, self._batch_size):
            states = self._states(
                self._network(names), [window.samples(samples, encoder.shortest) for window in batch]
            )
            values = {name: states[name].float().cpu().numpy() for name in names}
            yield merged(batch, values, steps, self.sample_rate)

    @torch.no_grad()
    def _states(self, network: nn.Module, windows: list[NDArray[np.float32]]) -> Mapping[str, Tensor]:
        inputs = self._encoder.processor(windows, sampling_rate=self.sample_rate, return_tensors="pt")
        features = inputs[self._encoder.input].to(self.device, self._dtype)
        return self._encoder.states(network, features)


@dataclass(frozen=True)
class _Encoder:
    """How an architecture is used.

    Attributes:
        processor: The library's feature extractor.
        input: Name of the model's input.
        outputs: Output -> rows.
        states: Model, input -> output -> `[windows, time, rows]`.
        step: Duration of a time step in samples; 0 for one time step per window.
        window: Default duration of a window in seconds.
        longest: Longest duration of a window in seconds.
        shortest: Number of samples below which the model has no output.
        config: Configuration of the model.
        load: Class of the library, by its name.
        depth: Key of the configuration with the number of layers, if fewer can be loaded.
        library: Version of a further package that decides the values.
    """

    processor: Any
    input: str
    outputs: Mapping[str, int]
    states: Callable[[nn.Module, Tensor], Mapping[str, Tensor]]
    config: Any
    load: str = "AutoModel"
    depth: str = ""
    step: float = 0.0
    window: float = 5.0
    longest: float = math.inf
    shortest: int = 1
    library: str = ""

    @property
    def layers(self) -> int:
        """Number of layers, 0 if all are loaded."""
        return getattr(self.config, self.depth) if self.depth else 0


def _hidden(outputs: Any, count: int) -> Sequence[Tensor]:
    states: Sequence[Tensor] | None = outputs.hidden_states
    if states is None or len(states) != count:
        number = 0 if states is None else len(states)
        raise RunError(
            f"model: the network returns {number} hidden states instead of {count}. If it comes with code of its own, "
            "that may not work with this version of transformers"
        )
    return states


def _outputs(layers: int, rows: int) -> dict[str, int]:
    return {f"layer{index}": int(rows) for index in range(layers + 1)}


def _named(states: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"layer{index}": state for index, state in enumerate(states)}


def _waveform(config: Any, processor: Any, load: str = "AutoModel") -> _Encoder:
    """Return an encoder that reads the samples through strided convolutions without padding."""
    shortest, step = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        shortest += (kernel - 1) * step
        step *= stride

    def states(model: Any, samples: Tensor) -> dict[str, Tensor]:
        hidden = _hidden(model(samples, output_hidden_states=True), model.config.num_hidden_layers + 1)
        expected = (samples.shape[1] - shortest) // step + 1
        if hidden[0].shape[1] != expected:
            raise RunError(
                f"model: the network returns {hidden[0].shape[1]} time steps instead of {expected}; an architecture "
                "with another frame rate is not supported"
            )
        return _named(hidden)

    return _Encoder(
        processor,
        "input_values",
        _outputs(config.num_hidden_layers, config.hidden_size),
        states,
        config,
        load=load,
        depth="num_hidden_layers",
        step=step,
        shortest=shortest,
    )


def _spectrogram_transformer(config: Any, processor: Any) -> _Encoder:
    """Return an audio spectrogram transformer; its patches are ordered by frequency, then by time."""
    size = config.patch_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    bands = (config.num_mel_bins - height) // config.frequency_stride + 1
    columns = (config.max_length - width) // config.time_stride + 1
    frame = processor.sampling_rate // 100  # Kaldi's frame shift of 10 ms

    def states(model: Any, spectrogram: Tensor) -> dict[str, Tensor]:
        hidden = _hidden(model(spectrogram, output_hidden_states=True), model.config.num_hidden_layers + 1)
        # The first two tokens are the class and the distillation token.
        patches = (state[:, 2:].reshape(len(state), bands, columns, -1) for state in hidden)
        return _named([state.mean(1) for state in patches])

    longest = processor.max_length * frame / processor.sampling_rate
    return _Encoder(
        processor,
        "input_values",
        _outputs(config.num_hidden_layers, config.hidden_size),
        states,
        config,
        depth="num_hidden_layers",
        step=config.time_stride * frame,
        window=longest,
        longest=longest,
        shortest=frame * 5 // 2,  # Kaldi's frame of 25 ms
        library=f" torchaudio {_version('torchaudio')}",  # which the processor uses if it is installed
    )


def _whisper(config: Any, processor: Any) -> _Encoder:
    """Return the encoder of Whisper, whose second convolution has a stride of two frames."""

    def states(model: Any, spectrogram: Tensor) -> dict[str, Tensor]:
        encoder = model.get_encoder()
        outputs = encoder(spectrogram, output_hidden_states=True)
        return _named(_hidden(outputs, model.config.encoder_layers + 1))

    longest = processor.n_samples / processor.sampling_rate
    return _Encoder(
        processor,
        "input_features",
        _outputs(config.encoder_layers, config.d_model),
        states,
        config,
        depth="encoder_layers",
        step=2 * processor.hop_length,
        window=longest,
        longest=longest,
    )


def _clap(config: Any, processor: Any) -> _Encoder:
    """Return the audio encoder of CLAP with its projection."""
    config = getattr(config, "audio_config", config)
    if config.enable_fusion or processor.truncation == "fusion":
        raise InputError(
            "model: a CLAP checkpoint with feature fusion is not supported: its processor chooses parts of the audio "
            "at random. Use a checkpoint without fusion, such as laion/larger_clap_music"
        )
    depth = len(config.depths)
    widths = [config.patch_embeds_hidden_size * 2 ** min(stage, depth - 1) for stage in range(depth + 1)]

    def states(model: nn.Module, spectrogram: Tensor) -> dict[str, Tensor]:
        outputs = model(spectrogram, output_hidden_states=True)
        stages = [state.mean((2, 3)) for state in _hidden(outputs, depth + 1)]
        return _named([stage[:, None] for stage in stages]) | {"embedding": outputs.audio_embeds[:, None]}

    longest = float(processor.max_length_s)
    return _Encoder(
        processor,
        "input_features",
        {f"layer{index}": width for index, width in enumerate(widths)}
        | {"embedding": int(config.projection_dim)},
        states,
        config,
        load="ClapAudioModelWithProjection",
        window=longest,
        longest=longest,
    )


_ENCODERS: Mapping[str, Callable[[Any, Any], _Encoder]] = {
    "audio-spectrogram-transformer": _spectrogram_transformer,
    "clap": _clap,
    "clap_audio_model": _clap,
    "whisper": _whisper,
    **dict.fromkeys(_WAVEFORM, _waveform),
}


def _encoder(checkpoint: _Checkpoint) -> _Encoder:
    """Return how a checkpoint is used.

    Raises:
        InputError: Its architecture is not supported, or a file is missing or damaged.
    """
    from transformers import AutoConfig, AutoFeatureExtractor, HubertConfig

    kind, folder = checkpoint.architecture, checkpoint.folder
    hubert = kind == "mert_model" and _is_hubert(checkpoint.table)
    if not hubert and kind not in _ENCODERS and not checkpoint.runs_code:
        supported = ", ".join(sorted(_ENCODERS))
        if kind == "mert_model":
            reason = "its network is not HuBERT's (feature_extractor_cqt or deepnorm)"
        else:
            reason = f"the architecture {kind!r} is not supported (supported: {supported})"
        if "auto_map" in checkpoint.table:
            reason += (
                ". The model comes with Python files of its own; trust_remote_code = true executes them, if you trust "
                "their author"
            )
        raise InputError(f"model: {folder}: {reason}")
    trust = {"trust_remote_code": checkpoint.runs_code, "local_files_only": True}
    try:
        with _quiet():
            processor = AutoFeatureExtractor.from_pretrained(folder, **trust)
        if hubert:
            ignored = ("architectures", "auto_map", "model_type")
            table = {key: value for key, value in checkpoint.table.items() if key not in ignored}
            return _waveform(HubertConfig.from_dict(table), processor, "HubertModel")
        with _quiet():
            config = AutoConfig.from_pretrained(folder, **trust)
        return _ENCODERS.get(kind, _waveform)(config, processor)
    except InputError:
        raise
    except Exception as error:  # the library has no common base of its errors
        raise InputError(f"model: {folder}: the configuration cannot be read: {_first_line(error)}") from error


def _is_hubert(table: Mapping[str, Any]) -> bool:
    """Return whether MERT's configuration selects the layers of HuBERT: nothing is added to them."""
    custom = table.get("deepnorm", False) and not table.get("do_stable_layer_norm", False)
    return not table.get("feature_extractor_cqt", False) and not custom


@dataclass(frozen=True)
class _Checkpoint:
    """The files of a model.

    Attributes:
        folder: Folder of the files.
        table: Content of its ``config.json``.
        weights: The files with the weights.
        trust: Whether Python files of the folder may be executed.
    """

    folder: Path
    table: Mapping[str, Any]
    weights: Sequence[Path]
    trust: bool

    @property
    def architecture(self) -> str:
        return str(self.table.get("model_type", ""))

    @property
    def runs_code(self) -> bool:
        """Whether Python files of the folder are executed: the library has no such architecture."""
        return self.trust and "auto_map" in self.table and self.architecture not in _ENCODERS

    def digest(self) -> str:
        """Return the hash of everything that decides the values."""
        names = ["config.json", "preprocessor_config.json", "processor_config.json"]
        code = sorted(self.folder.glob("*.py")) if self.runs_code else []
        files = [path for name in names if (path := self.folder / name).is_file()]
        digest = hashlib.sha256()
        for path in (*files, *code, *self.weights):
            digest.update(f"{path.name} {_file_hash(path, *_state(path))}\n".encode())
        return digest.hexdigest()[:32]

    def load(self, encoder: _Encoder, layers: int) -> nn.Module:
        """Return the network with its weights.

        Args:
            encoder: How it is used.
            layers: Number of layers, of those that have a number.

        Raises:
            RunError: The files cannot be read, or weights are missing.
        """
        import transformers

        config = copy.deepcopy(encoder.config)
        if encoder.depth:
            setattr(config, encoder.depth, layers)
        with _quiet():
            try:
                model, information = getattr(transformers, encoder.load).from_pretrained(
                    self.folder,
                    config=config,
                    dtype=torch.float32,
                    local_files_only=True,
                    output_loading_info=True,
                    trust_remote_code=self.runs_code,
                    use_safetensors=self.weights[0].name.endswith((".safetensors", ".safetensors.index.json")),
                    weights_only=True,
                )
            except Exception as error:  # the library has no common base of its errors
                raise RunError(
                    f"model: {self.folder}: the weights cannot be loaded: {_first_line(error)}"
                ) from error
        missing = sorted(set(information["missing_keys"]) - _UNUSED)
        if missing:
            raise RunError(
                f"model: {self.folder}: {len(missing)} weights of {type(model).__name__} are not in the files "
                f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}); they would be random"
            )
        network: nn.Module = model
        return network


def _checkpoint(model: Path | str, revision: str | None, trust: bool) -> _Checkpoint:
    """Find the files of a model.

    Raises:
        InputError: The model is not in the cache, or its folder is incomplete.
    """
    command = f"hf download {model}" + (f" --revision {revision}" if revision else "")
    if isinstance(model, Path):
        folder = expanded(model)
        fix = "Save a model of transformers there, or download one: hf download NAME --local-dir FOLDER"
        if not folder.is_dir():
            raise InputError(f"model: the folder {folder} does not exist. {fix}")
    else:
        fix = f"This command downloads it: {command}"
        folder = _cached(model, revision, fix)
    try:
        table = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"model: {folder}: config.json is missing. {fix}") from error
    except ValueError as error:
        raise InputError(f"model: {folder / 'config.json'}: is not JSON: {error}") from error
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise InputError(
            f"model: {folder}: preprocessor_config.json is missing, which has the sample rate. {fix}"
        )
    return _Checkpoint(folder, table, _weights(folder, fix), trust)


def _cached(name: str, revision: str | None, fix: str) -> Path:
    """Return the folder of a hub model in the local cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError as error:
        raise InputError(
            f"model: {name!r} is not a name on the hub, such as 'm-a-p/MERT-v1-95M'; a folder begins with ./, ../, ~ "
            "or /"
        ) from error
    if not isinstance(path, str):
        hint = f" The folder of that name is './{name}'." if Path(name).is_dir() else ""
        raise InputError(f"model: {name!r} is not in the local cache of the hub.{hint} {fix}")
    return Path(path).parent


def _weights(folder: Path, fix: str) -> Sequence[Path]:
    """Return the files with the weights, safetensors if there are some."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        files = [folder / name]
        if not files[0].is_file() and index.is_file():
            try:
                parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
                files = [index, *sorted(folder / part for part in parts)]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"model: {index}: is not an index of weights: {error}") from error
        absent = [path for path in files if not path.is_file()]
        if not absent:
            return files
        if len(files) > 1:
            raise InputError(f"model: {folder}: {absent[0].name} is missing. {fix}")
    raise InputError(
        f"model: {folder}: the weights are missing (model.safetensors or pytorch_model.bin). {fix}"
    )


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@cache
def _file_hash(path: Path, size: int, modified: int) -> str:
    """Return the hash of a file's content, computed once per process for a size and a time of modification."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_library() -> None:
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            f"requires the library transformers: pip install 'musicemo[transformers]' ({error})"
        ) from error
    if int(transformers.__version__.split(".")[0]) < 5:
        raise InputError(
            f"requires transformers 5 or later, not {transformers.__version__}: pip install -U "
            "'musicemo[transformers]'"
        )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's progress bars and messages: what matters in them is an error of the extractor."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
