import pytest
import torch
from backbone_properties import padded, tracks_of, with_statistics
from musicemo_builtin.models.crnn import CRNN
from torch import nn

from musicemo.errors import InputError

SMALL = {"channels": [3, 4], "strides": [2, 1], "hidden": 5}


@pytest.mark.parametrize(("bidirectional", "size"), [(True, 10), (False, 5)])
def test_the_embedding_is_that_of_its_recurrent_network(bidirectional, size):
    model = CRNN(input_size=13, bidirectional=bidirectional, **SMALL)
    assert model.embedding_size == size
    assert model.recurrent.forwards[0].input_size == 4 * 4


@torch.no_grad()
def test_it_is_convolutions_and_an_lstm_over_what_they_leave():
    torch.manual_seed(0)
    model = with_statistics(CRNN(input_size=12, pooling="mean", bidirectional=False, **SMALL), 12)
    track = tracks_of([11], 12)[0]
    h = track[None, None]
    for convolution, norm, stride in zip(model.convolutions, model.normalizations, (2, 1), strict=True):
        h = nn.functional.conv2d(h, convolution.weight, padding=1)
        h = nn.functional.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
        h = nn.functional.max_pool2d(h, (stride, 2), ceil_mode=True)
    assert h.shape == (1, 4, 6, 3)
    outputs, _ = model.recurrent.forwards[0](h.permute(0, 2, 1, 3).reshape(1, 6, 12))
    torch.testing.assert_close(model(*padded([track])), outputs.mean(1))


def test_padding_changes_nothing_in_training():
    x, lengths = padded(tracks_of([16, 7, 1], 12))
    results = []
    for extra in (0, 13):
        torch.manual_seed(0)
        model = CRNN(input_size=12, dropout=0.0, **SMALL).train()
        embedding = model(nn.functional.pad(x, (0, 0, 0, extra)), lengths)
        embedding.square().sum().backward()
        results.append([embedding, *(p.grad for p in model.parameters())])
    for tight, loose in zip(*results, strict=True):
        torch.testing.assert_close(tight, loose, rtol=1e-4, atol=1e-5)


def test_each_block_has_a_stride():
    with pytest.raises(InputError, match=r"`channels` has 2 entries and `strides` 4; a block has one of each"):
        CRNN(input_size=12, channels=[3, 4])


def test_the_sequence_repeats_the_steps_of_the_recurrent_network():
    torch.manual_seed(0)
    model = with_statistics(CRNN(input_size=12, channels=[3, 4], strides=[2, 2], hidden=4, pooling="mean"), 12)
    x, lengths = padded(tracks_of([8, 4], 12))
    steps = model.sequence(x, lengths)
    assert steps.shape == (2, 8, model.sequence_size)
    assert torch.equal(steps[0, 4:], steps[0, 4:5].expand(4, -1))
    assert not steps[1, 4:].any()
    torch.testing.assert_close(steps.sum(1) / lengths[:, None], model(x, lengths))
