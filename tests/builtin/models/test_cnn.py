import copy

import pytest
import torch
from backbone_properties import (
    assert_dropout_off_in_evaluation,
    assert_padding_independence,
    assert_permutation_equivariance,
    assert_trains,
    padded,
    tracks_of,
    with_statistics,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from musicemo_builtin.models.cnn import CNN
from torch import nn

from musicemo.errors import InputError

SMALL = {"channels": [3, 5, 6], "kernels": [5, 4, 3]}
POOLED = ["mean", "mean-max"]
STUDY = {"channels": [4, 16, 64, 256], "kernels": [5, 4, 3, 3]}


def blocks_of(model):
    return [(block.convolution.weight, block.normalization) for block in model.blocks]


@pytest.mark.parametrize("size", [12, 128, 140])
@pytest.mark.parametrize("pooling", POOLED)
def test_the_study_blocks_train_on_every_kind_of_features(size, pooling):
    torch.manual_seed(0)
    model = CNN(input_size=size, pooling=pooling)
    assert [block.convolution.out_channels for block in model.blocks] == STUDY["channels"]
    rows = {12: 1, 128: 8, 140: 9}[size]
    assert model.embedding_size == 256 * rows * (2 if pooling == "mean-max" else 1)
    assert_trains(model, tracks_of([40, 7, 23], size))


@pytest.mark.parametrize("pooling", POOLED)
def test_pooled_form_is_padded_convolutions_and_a_mean(pooling):
    torch.manual_seed(0)
    model = with_statistics(CNN(input_size=13, pooling=pooling, **SMALL), 13)
    track = tracks_of([21], 13)[0]
    h = track[None, None]
    for weight, norm in blocks_of(model):
        kernel = weight.shape[2]
        before, after = (kernel - 1) // 2, kernel // 2
        h = nn.functional.conv2d(nn.functional.pad(h, (before, after, before, after)), weight)
        h = nn.functional.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        h = nn.functional.max_pool2d(nn.functional.relu(h), 2, ceil_mode=True)
    assert h.shape == (1, 6, 3, 2)
    expected = [h.mean(2).flatten(1)] + ([h.amax(2).flatten(1)] if pooling == "mean-max" else [])
    torch.testing.assert_close(model(*padded([track])), torch.cat(expected, 1))


@pytest.mark.parametrize("training", [True, False])
def test_flattened_form_is_the_study_stack(training):
    torch.manual_seed(0)
    model = CNN(input_size=140, pooling="flatten", frames=129)
    layers, inputs = [], 1
    for (weight, norm), channels, kernel in zip(blocks_of(model), *STUDY.values(), strict=True):
        convolution, norm_there = nn.Conv2d(inputs, channels, kernel, bias=False), nn.BatchNorm2d(channels)
        convolution.load_state_dict({"weight": weight})
        norm_there.load_state_dict(norm.state_dict(), strict=False)
        layers += [convolution, norm_there, nn.ReLU(), nn.MaxPool2d(2)]
        inputs = channels
    stack = nn.Sequential(*layers, nn.Flatten()).train(training)
    model.train(training)
    x = torch.randn(2, 129, 140)
    assert model.embedding_size == 256 * 5 * 6
    torch.testing.assert_close(model(x, torch.tensor([129, 129])), stack(x[:, None]), rtol=1e-4, atol=1e-4)


def test_flattened_form_pads_and_crops_to_frames():
    model = with_statistics(CNN(input_size=20, pooling="flatten", frames=16, channels=[2], kernels=[3]), 20)
    track = tracks_of([24], 20)[0]
    assert torch.equal(model(*padded([track])), model(*padded([track[:16]])))
    short = track[:9]
    filled = torch.cat([short, torch.zeros(7, 20)])
    assert torch.equal(model(*padded([short])), model(*padded([filled])))


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [*POOLED, "flatten"])
@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), extra=st.integers(0, 20))
def test_padding_changes_no_embedding(pooling, lengths, extra):
    torch.manual_seed(0)
    frames = 30 if pooling == "flatten" else None
    blocks = {"channels": [3, 5], "kernels": [3, 4]}
    model = with_statistics(CNN(input_size=12, pooling=pooling, frames=frames, **blocks), 12)
    assert_padding_independence(model, tracks_of(lengths, 12), extra)


@pytest.mark.parametrize("size", [12, 140])
def test_padding_changes_no_embedding_of_the_study_blocks(size):
    torch.manual_seed(0)
    model = with_statistics(CNN(input_size=size), size)
    tracks = tracks_of([1, 2, 16, 17, 33, 40], size)
    assert_padding_independence(model, tracks, extra=5)
    assert_permutation_equivariance(model, tracks)


def test_padding_changes_nothing_in_training():
    """In training a batch's statistics tie its tracks together; how far it is padded still changes nothing."""
    x, lengths = padded(tracks_of([16, 7, 1], 12))
    results = []
    for extra in (0, 13):
        torch.manual_seed(0)
        model = CNN(input_size=12, **SMALL).train()
        embedding = model(nn.functional.pad(x, (0, 0, 0, extra)), lengths)
        embedding.square().sum().backward()
        results.append([embedding, *(p.grad for p in model.parameters()), *model.buffers()])
    for tight, loose in zip(*results, strict=True):
        torch.testing.assert_close(tight, loose, rtol=1e-4, atol=1e-5)


def test_unpadded_batch_takes_the_native_path_to_the_same_result():
    """Two equal halves, one of them padded: its statistics are those of the unpadded one."""
    tracks = tracks_of([16, 16], 12)
    results = []
    for extra in (0, 16):
        torch.manual_seed(0)
        model = CNN(input_size=12, **SMALL).train()
        x, lengths = padded(tracks)
        results.append(model(nn.functional.pad(x, (0, 0, 0, extra)), lengths))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLED)
def test_one_step_of_one_track_trains(pooling):
    for size in (1, 8, 12):
        model = CNN(input_size=size, pooling=pooling).train()
        embedding = model(torch.randn(1, 1, size), torch.tensor([1]))
        embedding.sum().backward()
        assert embedding.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("lengths", [[6, 6], [6, 3]])
def test_gradient(lengths):
    torch.manual_seed(0)
    model = CNN(input_size=5, channels=[2, 3], kernels=[3, 2], pooling="mean-max").double().eval()
    x, lengths = padded(tracks_of(lengths, 5, dtype=torch.float64))
    names, values = zip(*model.named_parameters(), strict=True)

    def embed(x, *parameters):
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x, lengths))

    inside = torch.arange(x.shape[1]) < lengths[:, None]
    assert torch.autograd.gradcheck(
        lambda x, *p: embed(x * inside[..., None], *p), (x.requires_grad_(), *values)
    )


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [{"pooling": "mean"}, {"pooling": "flatten", "frames": 48}])
def test_a_training_step_with_weights_of_either_sign_is_that_of_the_plain_layers(pooling):
    torch.manual_seed(3)
    model = CNN(input_size=52, channels=[3, 5], kernels=[4, 3], **pooling).double()
    for block in model.blocks:
        nn.init.normal_(block.normalization.weight)
        nn.init.normal_(block.normalization.bias)
    x, lengths = torch.randn(4, 48, 52, dtype=torch.float64), torch.full((4,), 48)
    plain = copy.deepcopy(model.blocks)
    h = x.unsqueeze(1)
    for block in plain:
        norm = nn.BatchNorm2d(block.normalization.num_features).double()
        norm.load_state_dict(block.normalization.state_dict())
        block.normalization = norm
        pool = nn.MaxPool2d(2, ceil_mode=pooling["pooling"] == "mean")
        h = pool(norm(block.convolution(block.margin(h))).relu())
    expected = h.flatten(1) if model.frames else h.mean(2).flatten(1)
    embedding = model(x, lengths)
    torch.testing.assert_close(embedding, expected)
    expected.square().sum().backward()
    embedding.square().sum().backward()
    names = [name for name, _ in model.blocks.named_parameters()]
    for name in names:
        found, wanted = (blocks.get_parameter(name).grad for blocks in (model.blocks, plain))
        torch.testing.assert_close(found, wanted, msg=name)
    for name, buffer in model.blocks.named_buffers():
        if "running" in name:
            torch.testing.assert_close(buffer, plain.get_buffer(name), msg=name)


def test_dropout_is_off_in_evaluation():
    assert_dropout_off_in_evaluation(
        lambda dropout: CNN(input_size=12, dropout=dropout), tracks_of([30, 20, 8], 12)
    )


def test_chroma_keeps_the_first_block_alone_in_the_flattened_form():
    model = CNN(input_size=12, pooling="flatten", frames=129, channels=[4], kernels=[5])
    assert model.embedding_size == 4 * 62 * 4


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"channels": [4, 8]}, ["`channels` has 2", "`kernels` has 4"]),
        ({"pooling": "flatten"}, ["`frames`", "flatten"]),
        ({"frames": 129}, ["`frames`", "'mean'"]),
        ({"pooling": "flatten", "frames": 129}, ["12 feature rows", "block 2 of 4", "fewer blocks"]),
        ({"pooling": "flatten", "frames": 20}, ["20 `frames`", "block 3 of 4", "12 feature rows"]),
    ],
)
def test_parameters_that_do_not_fit_each_other(parameters, words):
    with pytest.raises(InputError) as caught:
        CNN(input_size=12, **parameters)
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_sequence_is_the_last_block_at_each_step():
    """Its mean over steps of full windows is the embedding, and each output stands for as many steps as were pooled."""
    torch.manual_seed(0)
    model = with_statistics(CNN(input_size=12, pooling="mean", **SMALL), 12)
    x, lengths = padded(tracks_of([24, 16], 12))
    steps = model.sequence(x, lengths)
    assert steps.shape == (2, 24, model.sequence_size)
    assert torch.equal(steps[0, :8], steps[0, :1].expand(8, -1))
    assert not steps[1, 16:].any()
    means = torch.stack([track[:length].mean(0) for track, length in zip(steps, lengths, strict=True)])
    torch.testing.assert_close(means, model(x, lengths))


def test_the_flattened_form_has_no_sequence():
    model = CNN(input_size=20, pooling="flatten", frames=16, channels=[2], kernels=[3])
    assert not hasattr(model, "sequence_size")
    with pytest.raises(InputError, match='Use pooling = "mean"'):
        model.sequence(torch.zeros(1, 16, 20), torch.tensor([16]))


def test_without_pooling_over_time_every_step_has_its_own_embedding():
    torch.manual_seed(0)
    model = with_statistics(CNN(input_size=12, strides=[1] * len(SMALL["channels"]), **SMALL), 12)
    x, lengths = padded(tracks_of([9, 5], 12))
    steps = model.sequence(x, lengths)
    assert steps.shape == (2, 9, model.sequence_size)
    assert all(not torch.equal(*pair) for pair in zip(steps[0], steps[0, 1:], strict=False))
    assert not steps[1, 5:].any()
    torch.testing.assert_close(model.sequence(x[1:, :5], lengths[1:])[0], steps[1, :5])
    means = torch.stack([track[:length].mean(0) for track, length in zip(steps, lengths, strict=True)])
    torch.testing.assert_close(means, model(x, lengths))


def test_strides_of_two_are_the_default():
    torch.manual_seed(0)
    default = with_statistics(CNN(input_size=12, **SMALL), 12)
    same = CNN(input_size=12, strides=[2] * len(SMALL["channels"]), **SMALL).eval()
    same.load_state_dict(default.state_dict())
    x, lengths = padded(tracks_of([9, 5], 12))
    torch.testing.assert_close(same(x, lengths), default(x, lengths))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strides": [2]}, "`channels` has 4 entries and `strides` 1; a block has one of each"),
        (
            {"strides": [1] * 4, "pooling": "flatten", "frames": 200},
            '`strides` cannot be set with pooling = "flatten"',
        ),
    ],
)
def test_strides_that_do_not_fit(parameters, message):
    with pytest.raises(InputError, match=message):
        CNN(input_size=128, **parameters)
