"""Half precision on devices that cannot compute everything in it."""

from __future__ import annotations

import fakes as components
import pytest
import torch
from complaints import warns
from harness import CPU, assemble, results_of, train
from torch import nn

from musicemo.errors import InputError
from musicemo.training import precision as module
from musicemo.training.precision import autocast, unsupported

pytestmark = pytest.mark.usefixtures("fakes")

NOTE = "recurrent layers are computed in float32: lstm cannot be computed in bfloat16 on this machine's cpu"


class Recurrent(components.MeanModel):
    """A stranger's recurrent model, which knows nothing of precision."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__(input_size=input_size)
        self.lstm = nn.LSTM(8, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.embedding_size = 16

    def forward(self, x, lengths):
        outputs, _ = self.lstm(self.dense(x))
        return outputs[:, 0]


@pytest.fixture
def without_lstm(monkeypatch):
    """Let the processor be one that cannot compute an LSTM in half precision."""
    monkeypatch.setattr(module, "unsupported", lambda device, dtype: frozenset({"lstm"}))


def test_a_layer_that_the_device_cannot_compute_is_computed_in_single(without_lstm):
    torch.manual_seed(0)
    lstm, dense = nn.LSTM(4, 3, batch_first=True), nn.Linear(4, 4)
    x = torch.randn(2, 5, 4, requires_grad=True)
    with autocast(CPU, "bfloat16"):
        hidden = dense(x)
        with warns(NOTE):
            outputs, _ = lstm(hidden)
        after = dense(torch.cat([outputs, outputs[..., :1]], 2))
    assert (hidden.dtype, outputs.dtype, after.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    assert torch.equal(outputs, lstm(hidden.float())[0])
    after.float().sum().backward()
    assert x.grad.isfinite().all()
    packed = nn.utils.rnn.pack_padded_sequence(hidden.detach(), [5, 3], batch_first=True)
    with autocast(CPU, "bfloat16"), warns(NOTE):
        outputs, _ = lstm(packed)
    assert outputs.data.dtype == torch.float32


def test_layers_that_the_device_computes_keep_the_precision(monkeypatch):
    monkeypatch.setattr(module, "unsupported", lambda device, dtype: frozenset({"gru"}))
    with autocast(CPU, "bfloat16"):
        outputs, _ = nn.RNN(4, 3)(torch.zeros(2, 5, 4))
    assert outputs.dtype == torch.bfloat16


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_a_recurrent_model_is_trained_in_half_precision_on_every_processor(name, fakes, tmp_path):
    """Whatever this one can: what it cannot is found by a try, and nothing fails in mid-run."""
    fakes("model", "recurrent", Recurrent)
    overrides = ["model.type='recurrent'", f"training.precision='{name}'", "training.epochs=1"]
    if unsupported("cpu", getattr(torch, name)):
        with warns("recurrent layers are computed in float32"):
            run = train(tmp_path, *overrides).run
    else:
        run = train(tmp_path, *overrides).run
    losses = [value for name, value in run.history[0].items() if name.endswith("loss")]
    assert torch.tensor(losses).isfinite().all()


def test_the_note_is_in_the_results(fakes, without_lstm, tmp_path):
    fakes("model", "recurrent", Recurrent)
    overrides = ["model.type='recurrent'", "training.precision='bfloat16'", "training.epochs=1"]
    with warns(NOTE):
        run = train(tmp_path, *overrides).run
    assert NOTE in results_of(run.directory)["warnings"]


def test_a_try_that_fails_forward_or_backward_is_noticed_once(monkeypatch):
    class Fails(nn.Module):
        def __init__(self, backward):
            super().__init__()
            self.backward = backward

        def forward(self, x):
            if not self.backward:
                raise RuntimeError("could not create a primitive descriptor")
            x.register_hook(self.refuse)
            return x * 2, None

        def refuse(self, gradient):
            raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr(
        module,
        "_RECURRENT",
        {"lstm": lambda: Fails(False), "gru": lambda: Fails(True), "rnn_tanh": lambda: nn.RNN(2, 2)},
    )
    unsupported.cache_clear()
    try:
        state = torch.get_rng_state()
        with torch.no_grad():
            assert unsupported("cpu", torch.bfloat16) == {"lstm", "gru"}
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        unsupported.cache_clear()


def test_a_model_that_cannot_be_trained_in_a_precision_is_reported_before_training(fakes, tmp_path):
    class Single(components.MeanModel):
        def forward(self, x, lengths):
            embedding = super().forward(x, lengths)
            if embedding.dtype != torch.float32:
                raise RuntimeError("expected float32")
            return embedding

    fakes("model", "single", Single)
    assemble(tmp_path, "model.type='single'")
    with pytest.raises(InputError, match="in bfloat16"):
        assemble(tmp_path, "model.type='single'", "training.precision='bfloat16'")
