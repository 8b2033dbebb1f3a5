"""Pretraining without labels: the loss, the tracks it sees, runs, resumption, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from harness import assemble, only_run, results_of, run_all

from musicemo.contracts import Examples
from musicemo.errors import InputError, RunError
from musicemo.hookspecs import hookimpl
from musicemo.ops import masked_mean, valid_steps
from musicemo.training.pretraining import contrastive_loss, mask_spans

PRETRAINING = "pretraining={ type = 'contrast', epochs = 4, projection = 8, lr = 1e-2 }"
MASKED = "pretraining={ type = 'masked', epochs = 4, share = 0.4, length = 2, lr = 3e-2 }"
RECURRENT = "model={ type = 'recurrent' }"


SEEN: list[float] = []


class Excerpt:
    """A random excerpt of each track; the sums of the tracks are added to `SEEN`."""

    aligned = False
    excerpts = (6, 3)

    def __init__(self, *, rows, length: int = 6) -> None:
        self.length = length

    def __call__(self, examples, random):
        SEEN.extend(examples.x.sum(dim=(1, 2)).tolist())
        x = torch.zeros(len(examples.x), self.length, examples.x.shape[2])
        lengths = examples.lengths.clamp(max=self.length)
        for row, length in enumerate(examples.lengths.tolist()):
            start = int(random.integers(max(length - self.length, 0) + 1))
            x[row, : lengths[row]] = examples.x[row, start : start + lengths[row]]
        return Examples(x, lengths, examples.labels)


class Mixed:
    def __call__(self, examples, random):
        return examples.mixed(torch.from_numpy(random.permutation(len(examples.x))), 0.7)


class Same:
    def __call__(self, examples, random):
        return examples


class Recurrent(torch.nn.Module):
    """A recurrent network; the shares of the steps that are 0 in its inputs are added to `SEEN`."""

    def __init__(self, *, input_size: int, context: bool = True) -> None:
        super().__init__()
        self.embedding_size = self.sequence_size = 8
        self.layer = torch.nn.GRU(input_size, 8, batch_first=True) if context else None
        self.dense = torch.nn.Linear(8 if context else input_size, 8)

    def sequence(self, x, lengths):
        SEEN.extend(((~x.any(dim=2) & valid_steps(lengths, x.shape[1])).sum(dim=1) / lengths).tolist())
        return self.dense(self.layer(x)[0] if self.layer else x)

    def forward(self, x, lengths):
        h = self.dense(self.layer(x)[0] if self.layer else x)
        return masked_mean(h, valid_steps(lengths, x.shape[1]))


@pytest.fixture(autouse=True)
def _components(fakes):
    SEEN.clear()
    fakes("model", "recurrent", Recurrent)
    for name, one in (("excerpt", Excerpt), ("mixed", Mixed), ("same", Same)):
        fakes("augmentation", name, one)


EXCERPT = "augment=[{ type = 'excerpt' }]"


def test_the_loss_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    units = [row / row.norm() for row in (*one, *other)]
    terms = []
    for i in range(6):
        similar = [math.exp(float(units[i] @ units[k]) / 0.2) for k in range(6)]
        terms.append(-math.log(similar[(i + 3) % 6] / (sum(similar) - similar[i])))
    assert float(contrastive_loss(one, other, 0.2)) == pytest.approx(sum(terms) / 6)
    assert float(contrastive_loss(3 * one, other, 0.2)) == pytest.approx(sum(terms) / 6)  # of any length
    axes = torch.eye(4, dtype=torch.float64)
    assert float(contrastive_loss(axes, axes, 0.01)) == pytest.approx(0.0, abs=1e-9)
    assert float(contrastive_loss(axes, axes, 1e9)) == pytest.approx(math.log(7))
    one.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: contrastive_loss(x, other, 0.2), one)


def test_it_lowers_the_loss_with_the_training_set_only_and_changes_the_backbone_only(tmp_path):
    few = ["tasks.valence.labeled=0.3", "tasks.genre.labeled=0.3"]
    prepared = assemble(tmp_path, EXCERPT, PRETRAINING, *few)
    training = prepared.split.parts["train"]
    assert len(prepared.batches["train"].indices) < len(training)
    before = {name: value.clone() for name, value in prepared.network.state_dict().items()}
    SEEN.clear()
    losses = list(prepared.pretraining.epochs())
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    changed = {
        name for name, value in prepared.network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert all(name.startswith("backbone.") for name in changed)
    sums = torch.tensor([float(one.sum()) for one in prepared.features.select(training)])
    apart = (torch.tensor(SEEN)[:, None] - sums).abs().min(dim=1)
    assert float(apart.values.max()) < 1e-3
    assert torch.bincount(apart.indices, minlength=len(sums)).tolist() == [2 * 4] * len(sums)


def test_masked_spans_have_their_share_and_length_and_every_combination():
    random = np.random.default_rng(0)
    lengths = np.array([40, 9, 3, 2, 1])
    masked = mask_spans(lengths, 40, 0.3, 4, random)
    assert masked.sum(dim=1).tolist() == [12, 4, 1, 1, 0]
    assert not (masked & (torch.arange(40) >= torch.from_numpy(lengths)[:, None])).any()
    assert mask_spans(np.array([40]), 40, 0.99, 13, random).sum() == 39  # a step remains
    changes = np.diff(masked[0].numpy().astype(int), prepend=0, append=0)
    spans = np.flatnonzero(changes == -1) - np.flatnonzero(changes == 1)
    assert (spans % 4 == 0).all()
    places = {tuple(row) for _ in range(200) for row in mask_spans(np.array([6]), 6, 0.6, 2, random).tolist()}
    assert len(places) == 6  # two spans of two steps at six steps


def test_masked_steps_are_predicted_from_the_others(tmp_path):
    prepared = assemble(tmp_path, RECURRENT, MASKED)
    before = {name: value.clone() for name, value in prepared.network.state_dict().items()}
    SEEN.clear()
    losses = list(prepared.pretraining.epochs())
    assert losses[-1] < 0.9 * losses[0]
    assert min(SEEN) > 0.2
    assert max(SEEN) < 0.6
    changed = {
        name for name, value in prepared.network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {name for name in before if name.startswith("backbone.")}


@pytest.mark.parametrize(("loss", "expected"), [("mse", (4 + 9) / 2), ("mae", (2 + 3) / 2)])
def test_the_loss_is_of_masked_steps_that_no_augmentation_masked(tmp_path, loss, expected):
    prepared = assemble(tmp_path, RECURRENT, MASKED, f"pretraining.loss='{loss}'")
    pretraining = prepared.pretraining
    batch = next(prepared.batches["train"].epoch())
    masked = pretraining._mask(batch, (1, 1))
    x = torch.full_like(batch.x, 1e6)  # steps that are not masked do not count
    places = masked.nonzero()
    x[masked] = 0.0
    x[places[0][0], places[0][1]], x[places[1][0], places[1][1]] = 2.0, -3.0
    zero = torch.nn.Linear(8, batch.x.shape[2])
    torch.nn.init.zeros_(zero.weight)
    torch.nn.init.zeros_(zero.bias)
    value = pretraining._loss(zero, [dataclasses.replace(batch, x=x)], (1, 1))
    assert value.item() == pytest.approx(expected)


class Interrupts:
    @hookimpl
    def musicemo_epoch_started(self, run, epoch):
        if epoch == 3:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("pretraining", [[EXCERPT, PRETRAINING], [RECURRENT, MASKED]])
def test_a_run_records_it_and_is_resumed_to_the_same_weights(tmp_path, pretraining):
    more = [*pretraining, "training.epochs=4", "training.average={ decay = 0.9 }"]
    (whole,) = run_all(tmp_path, *more, runs="whole")
    losses = whole.results["pretraining"]["losses"]
    assert len(losses) == 4
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *more, plugins=[Interrupts()])
    SEEN.clear()
    run_all(tmp_path, *more, resume=True)
    directory = only_run(tmp_path)
    for name in ("history.jsonl", "predictions.csv", "experiment.toml"):
        assert (directory / name).read_bytes() == (whole.directory / name).read_bytes(), name
    assert results_of(directory)["pretraining"] == {
        "type": "masked" if MASKED in more else "contrast",
        "losses": losses,
    }
    (plain,) = run_all(tmp_path, more[0], *more[2:], runs="plain")
    assert "pretraining" not in plain.results
    history = (directory / "history.jsonl").read_bytes()
    assert (plain.directory / "history.jsonl").read_bytes() != history
    (repeated,) = run_all(tmp_path, text=(directory / "experiment.toml").read_text(), runs="repeated")
    assert (repeated.directory / "history.jsonl").read_bytes() == history


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["augment=[]"],
            r"pretraining: compares augmented versions of a track, but there is no \[\[augment\]\]",
        ),
        (["augment=[{ type = 'mixed' }]"], "pretraining: an augmentation mixes tracks"),
        (["augment=[{ type = 'same' }]"], "pretraining: both views of the first batch are equal"),
        ([EXCERPT, "training.batch_size=1"], "pretraining: needs batches of at least 2 tracks"),
        ([EXCERPT, "training.processes=2"], r"training.processes: must be 1 with \[pretraining\], not 2"),
        ([EXCERPT, "pretraining.type='jigsaw'"], "pretraining.type: "),
        ([MASKED], "pretraining: model MeanModel has no embedding per time step"),
        (
            [MASKED, RECURRENT, "model.context=false"],
            "pretraining: the embedding of a time step of model Recurrent does not depend on other steps",
        ),
        (
            [MASKED, RECURRENT, EXCERPT, "augment=[{ type = 'excerpt', length = 1 }]"],
            "pretraining: the features have one time step per track",
        ),
        ([MASKED, RECURRENT, "pretraining.temperature=1"], "temperature"),
    ],
)
def test_what_is_refused(overrides, problem, tmp_path):
    pretraining = [] if MASKED in overrides else [PRETRAINING]
    with pytest.raises(InputError, match=problem):
        assemble(tmp_path, *pretraining, *overrides)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    prepared = assemble(tmp_path, EXCERPT, PRETRAINING)
    with torch.no_grad():
        next(prepared.network.backbone.parameters()).fill_(torch.nan)
    with pytest.raises(RunError, match="pretraining: epoch 1, batch 1: the loss is nan"):
        next(prepared.pretraining.epochs())
