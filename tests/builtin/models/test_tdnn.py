import pytest
import torch
from backbone_properties import padded, tracks_of, with_statistics
from musicemo_builtin.models.tdnn import TDNN
from torch import nn

SMALL = {"channels": 3, "dilations": [1, 2], "stride": 2, "embedding": 4}


def reference(model, track):
    """Return the normalized input `[time, row]` and all layers `[time, channel]`, computed with torch's functions."""

    def normalized(h, norm):
        return nn.functional.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    def convolved(h, layer, **settings):
        return nn.functional.conv1d(h, layer.weight.squeeze(3), **settings)

    u = normalized(track.T[None], model.input_norm)
    h = normalized(convolved(u, model.first, stride=2, padding=2), model.first_norm).relu()
    layers = [h]
    for block, dilation in zip(model.blocks, (1, 2), strict=True):
        inner = convolved(h, block.convolution, padding=dilation, dilation=dilation)
        h = h + normalized(inner, block.norm).relu()
        layers.append(h)
    return u[0].T, torch.cat(layers, 1)[0].T


@torch.no_grad()
def test_it_is_dilated_convolutions_and_the_statistics_of_all_layers():
    torch.manual_seed(0)
    model = with_statistics(TDNN(input_size=12, **SMALL), 12)
    (track,) = tracks_of([11], 12)
    u, h = reference(model, track)
    assert h.shape == (6, 9)
    statistics = [u.mean(0), h.mean(0), u.std(0, correction=0), h.std(0, correction=0)]
    expected = model.dense(torch.cat(statistics)).relu()
    torch.testing.assert_close(model(*padded([track]))[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attentive_statistics_are_weighted_moments():
    torch.manual_seed(0)
    model = with_statistics(TDNN(input_size=12, pooling="attentive-statistics", **SMALL), 12)
    (track,) = tracks_of([11], 12)
    _, h = reference(model, track)
    weights = model.attention.score(model.attention.project(h[:, -3:]).tanh()).softmax(0)
    mean = (weights * h).sum(0)
    deviation = (weights * h**2).sum(0).sub(mean**2).clamp(min=0).sqrt()
    expected = model.dense(torch.cat([mean, deviation])).relu()
    torch.testing.assert_close(model(*padded([track]))[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pooling", ["statistics", "attentive-statistics"])
def test_padding_changes_nothing_in_training(pooling):
    x, lengths = padded(tracks_of([16, 7, 1], 12))
    results = []
    for extra in (0, 13):
        torch.manual_seed(0)
        model = TDNN(input_size=12, dropout=0.0, pooling=pooling, **SMALL).train()
        embedding = model(nn.functional.pad(x, (0, 0, 0, extra)), lengths)
        embedding.square().sum().backward()
        results.append([embedding, *(p.grad for p in model.parameters()), *model.buffers()])
    for tight, loose in zip(*results, strict=True):
        torch.testing.assert_close(tight, loose, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_sequence_repeats_the_layers_for_every_step():
    torch.manual_seed(0)
    model = with_statistics(TDNN(input_size=12, **SMALL), 12)
    tracks = tracks_of([11, 4], 12)
    steps = model.sequence(*padded(tracks))
    assert steps.shape == (2, 11, model.sequence_size)
    for row, track in zip(steps, tracks, strict=True):
        _, h = reference(model, track)
        expected = h.repeat_interleave(2, 0)[: len(track)]
        torch.testing.assert_close(row[: len(track)], expected, rtol=1e-4, atol=1e-5)
        assert not row[len(track) :].any()


def test_it_is_small_by_default():
    assert sum(parameter.numel() for parameter in TDNN(input_size=140).parameters()) < 150_000
