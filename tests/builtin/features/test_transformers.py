"""With tiny networks of random weights, held to calls of the library itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from extraction import outputs_of

transformers = pytest.importorskip("transformers", reason="needs transformers")

from musicemo_builtin.features.transformers import Transformers  # noqa: E402

from musicemo.components import registry  # noqa: E402
from musicemo.components.spec import make_component  # noqa: E402
from musicemo.errors import InputError, RunError  # noqa: E402
from musicemo.testing import check_features  # noqa: E402

pytestmark = pytest.mark.slow  # the import of the library takes seconds

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLUTIONS = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 4, 4),
    "conv_stride": (5, 4, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 8,
}
STRIDE, FIELD = 80, 10 + 3 * 5 + 3 * 20
RATE = 4000

#: Kind of model -> names of the library's configuration and model.
WAVEFORM = {
    "data2vec": "Data2VecAudio",
    "hubert": "Hubert",
    "unispeech": "UniSpeech",
    "unispeech-sat": "UniSpeechSat",
    "wav2vec2": "Wav2Vec2",
    "wav2vec2-conformer": "Wav2Vec2Conformer",
    "wavlm": "WavLM",
}


def network(kind: str):
    if kind in WAVEFORM:
        config = getattr(transformers, f"{WAVEFORM[kind]}Config")(**SMALL, **CONVOLUTIONS)
        return getattr(transformers, f"{WAVEFORM[kind]}Model")(config)
    if kind == "ast":
        return transformers.ASTModel(transformers.ASTConfig(**SMALL, max_length=64, num_mel_bins=32))
    if kind == "whisper":
        heads = {
            f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")
        }
        tokens = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
        config = transformers.WhisperConfig(
            **heads,
            **dict.fromkeys(tokens, 0),
            d_model=16,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            num_mel_bins=16,
            max_source_positions=50,
            vocab_size=32,
        )
        return transformers.WhisperModel(config)
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
        "num_mel_bins": 16,
        "spec_size": 64,
        "window_size": 4,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "enable_fusion": kind == "clap-fused",
    }
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 32,
        "max_position_embeddings": 16,
    }
    return transformers.ClapModel(
        transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    )


def processor(kind: str):
    if kind == "ast":
        return transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=32)
    if kind == "whisper":
        return transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    if kind.startswith("clap"):
        return transformers.ClapFeatureExtractor(
            feature_size=16,
            sampling_rate=8000,
            hop_length=80,
            max_length_s=1,
            fft_window_size=256,
            frequency_max=4000,
            truncation="fusion" if kind == "clap-fused" else "rand_trunc",
        )
    return transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that returns the folder of a saved model of a kind."""
    base = tmp_path_factory.mktemp("models")

    def save(kind: str) -> Path:
        folder = base / kind
        if not folder.is_dir():
            with torch.random.fork_rng():
                torch.manual_seed(0)
                network(kind).save_pretrained(folder)
            processor(kind).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def copied(saved, tmp_path) -> Callable[[str], Path]:
    """Return a function that returns a folder of a kind that the test can change."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(saved(kind), tmp_path / kind))

    return copy


def edit(path: Path, **values) -> None:
    """Set keys of a JSON file; None removes one."""
    table = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))


def noise(seconds: float, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def hidden_states(model, kind: str, samples: np.ndarray, rate: int):
    inputs = processor(kind)([samples], sampling_rate=rate, return_tensors="pt")
    name = "input_features" if "input_features" in inputs else "input_values"
    with torch.no_grad():
        return model.eval()(inputs[name], output_hidden_states=True)


@pytest.mark.parametrize(("kind", "window"), [("wav2vec2", 0.5), ("ast", 0.64), ("clap", 1.0)])
def test_contract(saved, kind, window):
    check_features("transformers", {"model": str(saved(kind)), "window": window}, window=window, seconds=2.5)


@pytest.mark.parametrize("kind", WAVEFORM)
def test_encoders_of_the_waveform_return_the_librarys_hidden_states(saved, kind):
    samples = noise(2.6)
    outputs = outputs_of(Transformers(model=saved(kind), window=1.0), samples)
    model = getattr(transformers, f"{WAVEFORM[kind]}Model").from_pretrained(saved(kind))
    assert list(outputs) == ["layer0", "layer1", "layer2"]
    for start, stop in ((0, RATE), (RATE, 2 * RATE), (2 * RATE, len(samples))):
        expected = hidden_states(model, kind, samples[start:stop], RATE).hidden_states
        first = start // RATE * 49  # (4000 - 85) // 80 + 1
        for layer, state in enumerate(expected):
            values = outputs[f"layer{layer}"].values[first : first + state.shape[1]]
            np.testing.assert_allclose(values, state[0], atol=1e-5)
    edges = outputs["layer1"].edges * RATE
    lasts = [0, 1, 1 + 48, 1 + 49, 2 * 49, len(edges) - 1]  # of the whole clip, and where windows meet
    np.testing.assert_allclose(edges[lasts], [0, 80, RATE, RATE + 80, 2 * RATE, len(samples)])
    assert len(edges) - 1 == 49 + 49 + (2400 - FIELD) // STRIDE + 1


def test_layers_after_the_requested_ones_are_not_loaded(copied):
    folder = copied("hubert")
    # The state after the last layer is normalized once more, so that it must not be the last one that is loaded.
    edit(folder / "config.json", do_stable_layer_norm=True)
    samples = noise(1.0)
    model = transformers.HubertModel.from_pretrained(folder)
    expected = hidden_states(model, "hubert", samples, RATE).hidden_states
    extractor = Transformers(model=folder)
    for layer, layers in ((0, 1), (1, 2), (2, 2), (0, 2)):
        output = outputs_of(extractor, samples, [f"layer{layer}"])[f"layer{layer}"]
        np.testing.assert_allclose(output.values, expected[layer][0], atol=1e-5)
        assert len(extractor._loaded[1].encoder.layers) == layers


def test_patches_of_the_spectrogram_transformer_are_averaged_over_frequency(saved):
    samples = noise(0.64, 16000)
    outputs = outputs_of(Transformers(model=saved("ast")), samples)
    model = transformers.ASTModel.from_pretrained(saved("ast"))
    states = hidden_states(model, "ast", samples, 16000).hidden_states
    # 2 rows of patches from 32 bands, 5 columns from 64 frames
    expected = [[(states[1][0, 2 + column] + states[1][0, 7 + column]) / 2] for column in range(5)]
    np.testing.assert_allclose(
        outputs["layer1"].values, torch.cat([row[0][None] for row in expected]), atol=1e-5
    )
    np.testing.assert_allclose(outputs["layer1"].edges, [0, 0.1, 0.2, 0.3, 0.4, 0.64])


def test_whisper_returns_its_encoder_without_the_steps_of_the_padding(saved):
    samples = noise(1.5, 16000)
    outputs = outputs_of(Transformers(model=saved("whisper")), samples)
    model = transformers.WhisperModel.from_pretrained(saved("whisper")).get_encoder()
    whole = hidden_states(model, "whisper", samples[:16000], 16000).hidden_states
    rest = hidden_states(model, "whisper", samples[16000:], 16000).hidden_states
    expected = torch.cat([whole[2][0], rest[2][0, :25]])
    np.testing.assert_allclose(outputs["layer2"].values, expected, atol=1e-5)
    np.testing.assert_allclose(outputs["layer2"].edges, np.arange(76) * 0.02)


def test_clap_returns_stages_and_the_embedding_that_is_compared_with_text(saved):
    samples = noise(2.3, 8000)
    outputs = outputs_of(Transformers(model=saved("clap")), samples)
    model = transformers.ClapModel.from_pretrained(saved("clap")).eval()
    inputs = processor("clap")([samples[8000:16000]], sampling_rate=8000, return_tensors="pt")
    with torch.no_grad():
        stages = model.audio_model(inputs["input_features"], output_hidden_states=True).hidden_states
        expected = model.get_audio_features(inputs["input_features"]).pooler_output[0]
    embedding = torch.from_numpy(outputs["embedding"].values[1])
    torch.testing.assert_close(embedding / embedding.norm(), expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(outputs["layer2"].values[1], stages[2][0].mean((1, 2)), atol=1e-5)
    assert {name: output.values.shape for name, output in outputs.items()} == {
        "layer0": (2, 8),
        "layer1": (2, 16),
        "layer2": (2, 16),
        "embedding": (2, 12),
    }  # the rest of 0.3 s is less than half a window
    np.testing.assert_allclose(outputs["embedding"].edges, [0, 1, 2.3])


def test_of_overlapping_windows_the_middle_is_kept(saved):
    samples = noise(2.0)
    plain = [
        outputs_of(Transformers(model=saved("hubert"), window=1.0), samples[start:]) for start in (0, 2000)
    ]
    outputs = outputs_of(Transformers(model=saved("hubert"), window=1.0, hop=0.5), samples)
    values = outputs["layer2"].values
    # The first window is kept up to 0.75 s, with 25 ms of a step on each side, the second from there.
    np.testing.assert_allclose(values[:37], plain[0]["layer2"].values[:37], atol=1e-5)
    np.testing.assert_allclose(values[37:62], plain[1]["layer2"].values[12:37], atol=1e-5)
    assert outputs["layer2"].edges[-1] == 2.0


def test_the_rest_of_a_clip_below_the_receptive_field_belongs_to_the_step_before(saved):
    output = outputs_of(Transformers(model=saved("hubert"), window=1.0), noise(1.0 + (FIELD - 1) / RATE))[
        "layer0"
    ]
    assert len(output.values) == 49
    assert output.edges[-1] * RATE == pytest.approx(RATE + FIELD - 1)


def test_half_precision_is_close_to_float32(saved):
    samples = noise(1.0)
    whole = outputs_of(Transformers(model=saved("hubert")), samples)["layer2"].values
    half = outputs_of(Transformers(model=saved("hubert"), precision="bfloat16"), samples)["layer2"].values
    assert half.dtype == np.float32
    assert 0 < np.abs(half - whole).max() < 0.1


def test_a_folder_is_relative_to_the_experiments_file(saved):
    folder = saved("hubert")
    anchor = lambda _, path: folder.parent / path  # noqa: E731
    component = make_component(
        "features", "transformers", registry.load("features", "transformers"), {"model": "./hubert"}, anchor
    )
    assert component.parameters["model"] == folder
    named = make_component(
        "features", "transformers", registry.load("features", "transformers"), {"model": "a/b"}, anchor
    )
    assert named.parameters["model"] == "a/b"


def test_a_hub_name_is_read_from_the_local_cache(saved, tmp_path, monkeypatch):
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(saved("hubert"), repository / "snapshots" / "0a1b")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0a1b")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    there, local = Transformers(model="someone/tiny"), Transformers(model=saved("hubert"))
    assert there.fingerprint == local.fingerprint
    with pytest.raises(
        InputError, match=r"'someone/other' is not in the local cache.* hf download someone/other$"
    ):
        Transformers(model="someone/other")
    with pytest.raises(InputError, match=r"hf download someone/tiny --revision v2$"):
        Transformers(model="someone/tiny", revision="v2")
    with pytest.raises(InputError, match=r"'no folder' is not a name on the hub.* a folder begins with \./"):
        Transformers(model="no folder")


class TestFingerprint:
    def test_it_changes_with_the_files_and_not_with_their_place(self, saved, copied):
        folder = copied("hubert")
        prints = [Transformers(model=path).fingerprint for path in (saved("hubert"), folder)]
        assert prints[0] == prints[1]
        edit(folder / "config.json", layer_norm_eps=1e-4)
        prints.append(Transformers(model=folder).fingerprint)
        edit(folder / "preprocessor_config.json", do_normalize=False)
        prints.append(Transformers(model=folder).fingerprint)
        shutil.copy(saved("wavlm") / "model.safetensors", folder)
        prints.append(Transformers(model=folder).fingerprint)
        assert len(set(prints[1:])) == 4
        assert f"transformers {transformers.__version__} " in prints[0]


class TestMERT:
    """A MERT checkpoint has a type and code of its own, but is a HuBERT network."""

    OWN: ClassVar = {
        "model_type": "mert_model",
        "auto_map": {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"},
        "feature_extractor_cqt": False,
        "deepnorm": False,
        "attention_relax": -1.0,
    }

    def test_it_is_loaded_as_hubert(self, saved, copied):
        folder = copied("hubert")
        edit(folder / "config.json", **self.OWN)
        samples = noise(1.0)
        expected = outputs_of(Transformers(model=saved("hubert")), samples)
        for name, output in outputs_of(Transformers(model=folder), samples).items():
            np.testing.assert_array_equal(output.values, expected[name].values)

    def test_torch_files_with_the_older_names_of_the_weights_are_read(self, saved, copied):
        folder = copied("hubert")
        edit(folder / "config.json", **self.OWN)
        names = {
            "parametrizations.weight.original0": "weight_g",
            "parametrizations.weight.original1": "weight_v",
        }
        state = transformers.HubertModel.from_pretrained(folder).state_dict()
        for new, old in names.items():
            state = {name.replace(new, old): value for name, value in state.items()}
        assert "encoder.pos_conv_embed.conv.weight_g" in state
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        samples = noise(1.0)
        expected = outputs_of(Transformers(model=saved("hubert")), samples)["layer2"].values
        np.testing.assert_array_equal(
            outputs_of(Transformers(model=folder), samples)["layer2"].values, expected
        )

    @pytest.mark.parametrize("setting", ["feature_extractor_cqt", "deepnorm"])
    def test_layers_that_hubert_does_not_have_are_refused(self, copied, setting):
        folder = copied("hubert")
        edit(folder / "config.json", **self.OWN | {setting: True})
        with pytest.raises(InputError, match=r"not HuBERT's .*trust_remote_code = true executes"):
            Transformers(model=folder)

    def test_deepnorm_has_no_effect_with_stable_layer_norm(self, copied):
        folder = copied("hubert")
        edit(folder / "config.json", **self.OWN | {"deepnorm": True, "do_stable_layer_norm": True})
        Transformers(model=folder)


class TestTrust:
    CODE = """
from pathlib import Path
from transformers import HubertConfig, HubertModel

Path(r"{marker}").touch()

class OurConfig(HubertConfig):
    model_type = "ours"

class OurModel(HubertModel):
    config_class = OurConfig
"""

    @pytest.fixture
    def folder(self, copied, tmp_path, monkeypatch) -> Path:
        monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
        monkeypatch.syspath_prepend(tmp_path / "modules")
        folder = copied("hubert")
        (folder / "ours.py").write_text(self.CODE.format(marker=tmp_path / "executed"))
        auto = {"AutoConfig": "ours.OurConfig", "AutoModel": "ours.OurModel"}
        edit(folder / "config.json", model_type="ours", architectures=["OurModel"], auto_map=auto)
        return folder

    def test_code_of_a_model_is_not_executed_unless_asked_for(self, folder, tmp_path):
        with pytest.raises(
            InputError, match=r"'ours' is not supported .*trust_remote_code = true executes them"
        ):
            Transformers(model=folder)
        assert not (tmp_path / "executed").exists()

    def test_code_of_a_model_is_executed_if_asked_for(self, folder, tmp_path, saved):
        extractor = Transformers(model=folder, trust_remote_code=True)
        samples = noise(1.0)
        expected = outputs_of(Transformers(model=saved("hubert")), samples)["layer2"].values
        np.testing.assert_array_equal(outputs_of(extractor, samples)["layer2"].values, expected)
        assert (tmp_path / "executed").exists()
        before = extractor.fingerprint
        with (folder / "ours.py").open("a") as file:
            file.write("# changed\n")
        assert Transformers(model=folder, trust_remote_code=True).fingerprint != before

    def test_weights_cannot_execute_code(self, copied, tmp_path):
        class Payload:
            def __reduce__(self):
                return Path.touch, (tmp_path / "executed",)

        folder = copied("hubert")
        (folder / "model.safetensors").unlink()
        torch.save({"masked_spec_embed": Payload()}, folder / "pytorch_model.bin")
        with pytest.raises(RunError, match="the weights cannot be loaded"):
            outputs_of(Transformers(model=folder), noise(1.0))
        assert not (tmp_path / "executed").exists()


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("config.json", "config.json is missing"),
            ("preprocessor_config.json", "preprocessor_config.json is missing, which has the sample rate"),
            ("model.safetensors", r"the weights are missing \(model.safetensors or pytorch_model.bin\)"),
        ],
    )
    def test_a_missing_file_is_found_before_anything_is_loaded(self, copied, name, message):
        folder = copied("hubert")
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"{message}.* hf download NAME --local-dir FOLDER"):
            Transformers(model=folder)

    def test_a_missing_part_of_the_weights(self, copied):
        folder = copied("hubert")
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(InputError, match=r"model-2.safetensors is missing"):
            Transformers(model=folder)

    def test_a_folder_that_does_not_exist(self, tmp_path):
        with pytest.raises(InputError, match=r"model: the folder .*nowhere does not exist"):
            Transformers(model=tmp_path / "nowhere")

    def test_weights_that_would_be_random(self, copied):
        from safetensors.torch import load_file, save_file

        folder = copied("hubert")
        state = load_file(folder / "model.safetensors")
        del state["masked_spec_embed"], state["encoder.layers.1.final_layer_norm.weight"]
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        extractor = Transformers(model=folder)
        with pytest.raises(RunError, match=r"1 weights of HubertModel are not in the files \(encoder.layers.1"):
            outputs_of(extractor, noise(1.0))

    def test_damaged_weights(self, copied):
        folder = copied("hubert")
        (folder / "model.safetensors").write_bytes(b"damaged")
        with pytest.raises(RunError, match="the weights cannot be loaded"):
            outputs_of(Transformers(model=folder), noise(1.0))

    def test_another_architecture(self, copied):
        folder = copied("hubert")
        edit(folder / "config.json", model_type="bert")
        with pytest.raises(
            InputError, match=r"'bert' is not supported \(supported: audio-spectrogram-transformer, "
        ):
            Transformers(model=folder)

    def test_a_clap_checkpoint_that_draws_random_parts(self, saved):
        with pytest.raises(InputError, match="feature fusion is not supported"):
            Transformers(model=saved("clap-fused"))

    def test_a_network_with_another_frame_rate(self, copied):
        folder = copied("hubert")
        extractor = Transformers(model=folder)
        extractor._encoder.config.conv_stride = (5, 4, 2)  # the network is made of this configuration
        with pytest.raises(RunError, match="time steps instead of"):
            outputs_of(extractor, noise(1.0))

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"window": 2.0}, r"window: 2 s is longer than the model allows \(1 s\)"),
            ({"hop": 1.5}, r"hop: must be at most the duration of a window, 1 s, not 1.5 s"),
            ({"device": "tpu"}, r"device: 'tpu' is not available \(available: auto, "),
        ],
    )
    def test_parameters(self, saved, parameters, message):
        with pytest.raises(InputError, match=message):
            Transformers(model=saved("clap"), **parameters)

    def test_a_window_below_the_receptive_field(self, saved):
        with pytest.raises(
            InputError, match=r"window: 0.02 s is shorter than what the model needs \(0.02125 s\)"
        ):
            Transformers(model=saved("hubert"), window=0.02)

    def test_a_missing_library(self, saved, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "transformers", None)
        with pytest.raises(InputError, match=r"pip install 'musicemo\[transformers\]'"):
            Transformers(model=saved("hubert"))
