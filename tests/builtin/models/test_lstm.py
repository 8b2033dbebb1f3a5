import pytest
import torch
from backbone_properties import (
    assert_dropout_off_in_evaluation,
    assert_padding_independence,
    assert_permutation_equivariance,
    assert_trains,
    padded,
    tracks_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from musicemo_builtin.models.lstm import LSTM
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

POOLINGS = ["last", "mean", "attention"]
EVERY = [(pooling, bidirectional) for pooling in POOLINGS for bidirectional in (False, True)]


def reference(model, layers, bidirectional):
    """Return torch's own LSTM with the model's weights."""
    first = model.forwards[0]
    lstm = nn.LSTM(first.input_size, first.hidden_size, layers, batch_first=True, bidirectional=bidirectional)
    state = {}
    for modules, suffix in ((model.forwards, ""), (model.backwards, "_reverse")):
        for layer, module in enumerate(modules):
            for name, value in module.state_dict().items():
                state[name.replace("_l0", f"_l{layer}{suffix}")] = value
    lstm.load_state_dict(state)
    return lstm


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("pooling", "bidirectional"), EVERY)
def test_equals_packed_sequences(layers, pooling, bidirectional):
    torch.manual_seed(0)
    model = LSTM(input_size=7, layers=layers, hidden=5, bidirectional=bidirectional, pooling=pooling).eval()
    x, lengths = padded(tracks_of([4, 11, 1, 8], 7))
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, (states, _) = reference(model, layers, bidirectional)(packed)
    steps, _ = pad_packed_sequence(outputs, batch_first=True)
    if pooling == "last":
        expected = torch.cat([states[-2], states[-1]], 1) if bidirectional else states[-1]
    else:
        expected = []
        for track, length in zip(steps, lengths, strict=True):
            weights = torch.full((int(length), 1), 1 / int(length))
            if pooling == "attention":
                weights = model.attention.score(torch.tanh(model.attention.project(track[:length]))).softmax(0)
            expected.append((weights * track[:length]).sum(0))
        expected = torch.stack(expected)
    torch.testing.assert_close(model(x, lengths), expected)


def test_equals_the_equations_step_by_step():
    torch.manual_seed(0)
    model = LSTM(input_size=3, hidden=4).eval()
    weights = model.forwards[0]
    track = tracks_of([6], 3)[0]
    h, c = torch.zeros(4), torch.zeros(4)
    for step in track:
        gates = weights.weight_ih_l0 @ step + weights.bias_ih_l0 + weights.weight_hh_l0 @ h + weights.bias_hh_l0
        i, f, g, o = gates.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(model(*padded([track]))[0], h)


@pytest.mark.parametrize("size", [12, 128, 140])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_trains_on_every_kind_of_features(size, pooling):
    torch.manual_seed(0)
    model = LSTM(input_size=size, layers=2, pooling=pooling)
    assert model.embedding_size == 50
    assert_trains(model, tracks_of([40, 7, 23], size))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_bidirectional_trains(pooling):
    torch.manual_seed(0)
    model = LSTM(input_size=12, layers=2, bidirectional=True, pooling=pooling)
    assert model.embedding_size == 100
    assert_trains(model, tracks_of([40, 7, 23], 12))


@pytest.mark.parametrize(("pooling", "bidirectional"), EVERY)
def test_whatever_stands_in_the_padding_has_no_part(pooling, bidirectional):
    model = LSTM(input_size=12, layers=2, bidirectional=bidirectional, pooling=pooling).eval()
    x, lengths = padded(tracks_of([4, 11, 1], 12))
    outside = (torch.arange(x.shape[1]) >= lengths[:, None])[:, :, None]
    filled = torch.where(outside, 1e6, x).requires_grad_()
    embedding = model(filled, lengths)
    torch.testing.assert_close(embedding, model(x, lengths))
    embedding.sum().backward()
    assert (filled.grad.masked_select(outside) == 0).all()


@pytest.mark.parametrize(("pooling", "bidirectional"), EVERY)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), extra=st.integers(0, 20))
def test_padding_changes_no_embedding(pooling, bidirectional, lengths, extra):
    torch.manual_seed(0)
    model = LSTM(input_size=6, layers=2, hidden=4, bidirectional=bidirectional, pooling=pooling)
    assert_padding_independence(model, tracks_of(lengths, 6), extra)


@pytest.mark.parametrize(("pooling", "bidirectional"), EVERY)
def test_permutation_of_the_batch(pooling, bidirectional):
    torch.manual_seed(0)
    model = LSTM(input_size=12, bidirectional=bidirectional, pooling=pooling)
    assert_permutation_equivariance(model, tracks_of([1, 40, 3, 17], 12))


def test_attention_of_equal_scores_is_the_mean():
    torch.manual_seed(0)
    attention, mean = LSTM(input_size=6, pooling="attention").eval(), LSTM(input_size=6, pooling="mean").eval()
    mean.load_state_dict(attention.state_dict(), strict=False)
    nn.init.zeros_(attention.attention.score.weight)
    batch = padded(tracks_of([9, 1, 4], 6))
    torch.testing.assert_close(attention(*batch), mean(*batch))


@pytest.mark.parametrize(("pooling", "bidirectional"), EVERY)
def test_one_step_of_one_track_trains(pooling, bidirectional):
    model = LSTM(input_size=12, layers=2, bidirectional=bidirectional, pooling=pooling).train()
    embedding = model(torch.randn(1, 1, 12), torch.tensor([1]))
    embedding.sum().backward()
    assert embedding.shape == (1, model.embedding_size)
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("pooling", "bidirectional"), EVERY)
def test_gradient(pooling, bidirectional):
    torch.manual_seed(0)
    settings = {"layers": 2, "hidden": 2, "bidirectional": bidirectional, "pooling": pooling}
    model = LSTM(input_size=2, **settings).double().eval()
    x, lengths = padded(tracks_of([4, 1, 3], 2, dtype=torch.float64))
    names, values = zip(*model.named_parameters(), strict=True)

    def embed(x, *parameters):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x, lengths))

    assert torch.autograd.gradcheck(embed, (x.requires_grad_(), *values))


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_is_off_in_evaluation(layers):
    assert_dropout_off_in_evaluation(
        lambda dropout: LSTM(input_size=12, layers=layers, dropout=dropout), tracks_of([30, 20, 8], 12)
    )


def test_dropout_acts_between_layers():
    model = LSTM(input_size=12, layers=2, dropout=0.5).train()
    model.dropout.p = 0.0
    batch = padded(tracks_of([9], 12))
    assert torch.equal(model(*batch), model(*batch))
    model.dropout.p = 0.5
    last = torch.stack([model(*batch)[0] for _ in range(2)])
    kept = (last != 0).all(0)
    assert not torch.equal(last[0, kept], last[1, kept])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_sequence_holds_the_outputs_that_are_pooled(bidirectional):
    torch.manual_seed(0)
    model = LSTM(input_size=5, hidden=4, bidirectional=bidirectional, pooling="mean").eval()
    x, lengths = padded(tracks_of([9, 1, 4], 5))
    steps = model.sequence(x, lengths)
    assert steps.shape == (3, 9, model.sequence_size)
    assert not steps[1, 1:].any()
    torch.testing.assert_close(steps.sum(1) / lengths[:, None], model(x, lengths))
