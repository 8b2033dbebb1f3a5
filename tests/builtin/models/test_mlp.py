import pytest
import torch
from backbone_properties import assert_trains, padded, tracks_of
from musicemo_builtin.models.mlp import MLP
from torch import nn


@pytest.mark.parametrize(("pooling", "size"), [("mean", 3), ("mean-std", 6)])
def test_is_dense_layers_on_pooled_features(pooling, size):
    torch.manual_seed(0)
    model = MLP(input_size=3, hidden=[5, 4], pooling=pooling, dropout=0.0)
    tracks = tracks_of([6, 1, 4], 3)
    pooled = torch.stack([torch.cat([track.mean(0), track.std(0, correction=0)])[:size] for track in tracks])
    first, second = (layer for layer in model.layers if isinstance(layer, nn.Linear))
    expected = second(first(pooled).relu()).relu()
    torch.testing.assert_close(model(*padded(tracks)), expected)
    assert model.embedding_size == 4


def test_without_hidden_layers_the_pooled_features_are_the_embedding():
    tracks = tracks_of([6, 2], 3)
    model = MLP(input_size=3, hidden=[])
    torch.testing.assert_close(model(*padded(tracks)), torch.stack([track.mean(0) for track in tracks]))
    assert model.embedding_size == 3


def test_late_pooling_with_a_linear_head_averages_the_predictions_of_the_steps():
    torch.manual_seed(0)
    model, head = MLP(input_size=3, hidden=[5, 4], pooling="late").eval(), nn.Linear(4, 1)
    tracks = tracks_of([6, 1, 4], 3)
    alone = [head(model(track[:, None], torch.ones(len(track), dtype=torch.int64))).mean(0) for track in tracks]
    torch.testing.assert_close(head(model(*padded(tracks))), torch.stack(alone))


@pytest.mark.parametrize("pooling", ["mean", "mean-std", "attention", "late"])
def test_the_embedding_of_a_step_is_that_of_a_track_of_this_step(pooling):
    torch.manual_seed(0)
    model = MLP(input_size=3, hidden=[4], pooling=pooling, norm="layer").eval()
    track = tracks_of([5], 3)[0]
    alone = model(track[:, None], torch.ones(5, dtype=torch.int64))
    torch.testing.assert_close(model.sequence(track[None], torch.tensor([5]))[0], alone)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_trains(norm, activation):
    torch.manual_seed(0)
    model = MLP(input_size=3, hidden=[8, 8], norm=norm, activation=activation, pooling="attention")
    assert_trains(model, tracks_of([5, 1, 3, 2], 3))


def test_batch_statistics_of_a_sequence_exclude_padding():
    results = []
    for extra in (0, 7):
        torch.manual_seed(0)
        model = MLP(input_size=3, hidden=[4], norm="batch", dropout=0.0).train()
        x, lengths = padded(tracks_of([5, 2], 3))
        model.sequence(nn.functional.pad(x, (0, 0, 0, extra)), lengths)
        results.append(model.layers[1].running_mean)
    torch.testing.assert_close(*results)


@pytest.mark.slow
def test_attention_learns_which_step_counts():
    """The target is a value of the one step that is marked."""
    torch.manual_seed(0)
    model, head = MLP(input_size=2, hidden=[16], pooling="attention", dropout=0.0), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 0.03)
    x, lengths = torch.randn(64, 6, 2), torch.full((64,), 6)
    x[:, :, 1] = nn.functional.one_hot(torch.randint(6, (64,)), 6) * 4
    target = (x[:, :, 0] * x[:, :, 1] / 4).sum(1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (head(model(x, lengths)).squeeze(1) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * target.var()
