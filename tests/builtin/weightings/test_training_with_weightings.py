"""Real trainers with every registered weighting: partial labels, weights in the history, an exact resumption."""

import warnings

import pytest
import torch
from fakes import MeanModel
from harness import run_all, train
from musicemo_builtin.models.lstm import LSTM

from musicemo.components import registry
from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl

NAMES = [claim.name for claim in registry.claims("weighting") if claim.distribution == "musicemo"]

#: Weightings of which there are no weights to record.
WITHOUT_WEIGHTS = {"config", "graddrop", "trimmed-mean"}

TEXT = """\
name = "small"
dataset = { type = "memory", missing = 0.3 }
model.type = "dense"
head = { hidden = [6], dropout = 0.3 }
evaluation.resamples = 100
[training]
epochs = 3
batch_size = 12
device = "cpu"
optimizer = { type = "adam", lr = 1e-2 }
early_stopping = { patience = false }
[tasks.valence]
loss = { type = "squared-error" }
[tasks.energy]
loss = { type = "squared-error" }
[tasks.genre]
"""


class Interrupt:
    """Ends the run after its second epoch, as though its machine had gone."""

    @hookimpl
    def musicemo_epoch_finished(self, record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt


@pytest.fixture
def components(fakes_beside):
    """Register the fakes beside what is built in, their model under a name of its own."""
    fakes_beside("model", "dense", MeanModel)
    return fakes_beside


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_trains_records_its_weights_and_resumes_to_the_bit(name, components, tmp_path):
    def folder(part):
        (tmp_path / part).mkdir()
        return tmp_path / part

    overrides = [f"weighting.type={name}", *(["weighting.optim_niter=2"] if name == "nash-mtl" else [])]
    whole = train(folder("whole"), *overrides, text=TEXT).run
    weights = {key for key in whole.history[-1] if key.startswith("weight/")}
    assert weights == (
        set() if name in WITHOUT_WEIGHTS else {f"weight/{t}" for t in ("valence", "energy", "genre")}
    )
    assert all(torch.tensor(list(record.values())).isfinite().all() for record in whole.history)
    with pytest.raises(KeyboardInterrupt):
        run_all(folder("parts"), *overrides, text=TEXT, plugins=[Interrupt()])
    resumed = train(tmp_path / "parts", *overrides, text=TEXT, resume=True).run
    assert len(resumed.history) == 3
    assert resumed.history == whole.history
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upgrad", "db-mtl", "gradnorm", "famo"])
def test_a_recurrent_network_in_less_precision(name, components, tmp_path):
    components("model", "recurrent", LSTM)
    overrides = ["model.type=recurrent", "training.precision=bfloat16", "training.epochs=1"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*", category=UserWarning, module="torch")
        run = train(tmp_path, f"weighting.type={name}", *overrides, text=TEXT).run
    assert all(torch.tensor(list(record.values())).isfinite().all() for record in run.history)


@pytest.mark.slow
def test_famo_on_the_same_batch_leaves_no_trace_of_the_second_pass(components, tmp_path):
    """With weights that do not learn, the extra pass must change nothing: neither dropout nor statistics."""

    class Normalized(torch.nn.Module):
        embedding_size = 8

        def __init__(self, *, input_size: int) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(input_size, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5)
            )

        def forward(self, x, lengths):
            return self.layers(x.sum(dim=1) / lengths[:, None])

    components("model", "normalized", Normalized)
    found = []
    for compare in ("same-batch", "next-batch"):
        (tmp_path / compare).mkdir()
        overrides = ["model.type=normalized", "weighting.type=famo", f"weighting.compare={compare}"]
        found.append(train(tmp_path / compare, *overrides, "weighting.lr=0.0", text=TEXT).run)
    assert found[0].history == found[1].history
    for key, value in found[0].network.state_dict().items():
        assert torch.equal(value, found[1].network.state_dict()[key])


@pytest.mark.slow
def test_the_second_pass_sees_the_same_dropout(components, tmp_path):
    """Without a learning rate the losses after the step are those before it, to the bit."""
    seen = []

    from musicemo_builtin.weightings.famo import FAMO

    class Watching(FAMO):
        def combine(self, losses):
            seen.append([loss.item() for loss in losses.values()])
            return super().combine(losses)

        def step_finished(self, losses):
            assert [loss.item() for loss in losses.values()] == seen[-1]
            super().step_finished(losses)

    components("weighting", "watching", Watching)
    overrides = ["weighting.type=watching", "weighting.compare=same-batch", "training.optimizer.lr=1e-30"]
    train(tmp_path, *overrides, text=TEXT)
    assert len(seen) > 8


def test_a_loss_that_may_be_negative_is_refused_before_training(components, tmp_path):
    overrides = ["weighting.type=famo", 'tasks.energy.loss={ type = "soft-spearman", form = "study" }']
    with pytest.raises(InputError, match=r"tasks\.energy\.loss.*SoftSpearman may be negative.*'famo'"):
        run_all(tmp_path, *overrides, text=TEXT)
    assert not list(tmp_path.glob("runs/*/*"))
