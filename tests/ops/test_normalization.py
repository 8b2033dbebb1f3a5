import pytest
import torch
from torch import nn

from musicemo.ops import BatchNormReLUMaxPool2d, MaskedBatchNorm2d

SHAPES = [(3, 4, 6, 8), (2, 3, 5, 7), (1, 5, 2, 2), (4, 1, 3, 4)]


def modules(channels, ceil):
    """Return the module and the three that it stands for, with equal weights of either sign."""
    torch.manual_seed(0)
    module, normalization = BatchNormReLUMaxPool2d(channels, ceil), MaskedBatchNorm2d(channels)
    nn.init.normal_(module.weight)
    nn.init.normal_(module.bias)
    normalization.load_state_dict(module.state_dict())
    pool = nn.MaxPool2d(2, ceil_mode=ceil)
    return module.double(), normalization.double(), lambda x, valid: pool(normalization(x, valid).relu())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("padded", [False, True])
def test_is_normalization_then_relu_then_pooling(shape, ceil, layout, padded):
    module, normalization, plain = modules(shape[1], ceil)
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    valid = (
        torch.arange(shape[2]) < torch.tensor([2, *[shape[2]] * (shape[0] - 1)])[:, None] if padded else None
    )
    for training in (True, False):
        module.train(training), normalization.train(training)
        y, expected = module(x, valid), plain(x, valid)
        torch.testing.assert_close(y, expected)
        cotangent = torch.randn_like(expected)
        gradients = torch.autograd.grad(y, (x, module.weight, module.bias), cotangent)
        wanted = torch.autograd.grad(expected, (x, normalization.weight, normalization.bias), cotangent)
        torch.testing.assert_close(gradients, wanted)
        for name, buffer in module.named_buffers():
            torch.testing.assert_close(buffer, normalization.get_buffer(name), msg=name)


def test_gradcheck():
    module, _, _ = modules(2, True)
    x = torch.randn(2, 2, 4, 6, dtype=torch.float64, requires_grad=True)

    def normalize(x, weight, bias):
        module.reset_running_stats()
        return torch.func.functional_call(module, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(normalize, (x, module.weight, module.bias))


def test_several_gradients_at_once():
    module, _, _ = modules(3, False)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    y = module(x)
    cotangents = torch.randn(5, *y.shape, dtype=torch.float64)
    inputs = (x, module.weight)
    batched = torch.autograd.grad(y, inputs, cotangents, is_grads_batched=True, retain_graph=True)
    for number, cotangent in enumerate(cotangents):
        single = torch.autograd.grad(y, inputs, cotangent, retain_graph=True)
        torch.testing.assert_close([gradient[number] for gradient in batched], list(single))
