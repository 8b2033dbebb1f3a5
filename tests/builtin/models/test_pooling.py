import copy

import pytest
import torch
from musicemo_builtin.models._pooling import NormalizedPool
from musicemo_builtin.models.cnn import CNN
from torch import nn

SHAPES = [(3, 4, 6, 8), (2, 3, 5, 7), (1, 5, 2, 2), (4, 1, 3, 4)]


def reference(x, weight, bias, eps, ceil):
    """Torch's own normalization, then its own pooling."""
    y = nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return nn.functional.max_pool2d(y, 2, ceil_mode=ceil)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradients_are_those_of_normalization_then_pooling(shape, ceil, layout):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weight = torch.rand(shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.randn(shape[1], dtype=torch.float64, requires_grad=True)
    y, mean, variance = NormalizedPool.apply(x, weight, bias, 1e-5, ceil)
    expected = reference(x, weight, bias, 1e-5, ceil)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(mean, x.detach().mean((0, 2, 3)))
    torch.testing.assert_close(variance, x.detach().var((0, 2, 3), unbiased=False))
    cotangent = torch.randn_like(expected)
    found = torch.autograd.grad(y, (x, weight, bias), cotangent)
    for one, other in zip(found, torch.autograd.grad(expected, (x, weight, bias), cotangent), strict=True):
        torch.testing.assert_close(one, other)


def test_gradcheck():
    torch.manual_seed(1)
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: NormalizedPool.apply(*a, 1e-5, True)[0], (x, weight, bias))


def test_several_gradients_at_once():
    torch.manual_seed(2)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(3, dtype=torch.float64, requires_grad=True)
    y = NormalizedPool.apply(x, weight, torch.zeros_like(weight), 1e-5, False)[0]
    cotangents = torch.randn(5, *y.shape, dtype=torch.float64)
    batched = torch.autograd.grad(y, (x, weight), cotangents, is_grads_batched=True, retain_graph=True)
    for number, cotangent in enumerate(cotangents):
        single = torch.autograd.grad(y, (x, weight), cotangent, retain_graph=True)
        torch.testing.assert_close([found[number] for found in batched], list(single))


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
        h = nn.functional.pad(h, block.margin or (0, 0, 0, 0))
        h = block.pool(norm(block.convolution(h)).relu())
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
