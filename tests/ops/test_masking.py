import pytest
import torch
from torch import nn

from musicemo.ops import AttentionPool, MaskedBatchNorm2d, masked_mean, masked_std, repeat_steps, valid_steps

LENGTHS = torch.tensor([5, 1, 3])
VALID = valid_steps(LENGTHS, 5)


def normalizations(dtype=torch.float64):
    torch.manual_seed(0)
    masked, native = MaskedBatchNorm2d(3).to(dtype), nn.BatchNorm2d(3).to(dtype)
    for module in (masked, native):
        torch.manual_seed(1)
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias)
    return masked, native


def batch(dtype=torch.float64):
    torch.manual_seed(2)
    return (torch.randn(3, 3, 5, 4, dtype=dtype) * 3 + 7).requires_grad_()


def positions(x):
    """Return the valid positions alone, `[count, channel, 1, feature]`: what native normalization understands."""
    return x.transpose(1, 2)[VALID][:, :, None]


def test_valid_steps():
    assert VALID.tolist() == [[True] * 5, [True] + [False] * 4, [True] * 3 + [False] * 2]


def test_masked_mean_of_each_track():
    x = torch.randn(3, 5, 2)
    expected = torch.stack([track[:length].mean(0) for track, length in zip(x, LENGTHS, strict=True)])
    torch.testing.assert_close(masked_mean(x, VALID), expected)
    torch.testing.assert_close(masked_mean(x), x.mean(1))


def test_masked_std_of_each_track():
    x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    deviation = masked_std(x, VALID)
    expected = [track[:length].std(0, correction=0) for track, length in zip(x, LENGTHS, strict=True)]
    torch.testing.assert_close(deviation, torch.stack(expected))
    deviation.sum().backward()
    assert not x.grad[1].any()  # of one step
    assert torch.autograd.gradcheck(lambda x: masked_std(x, VALID)[[0, 2]], x)


def test_repeated_steps_undo_pooling():
    x = torch.arange(1.0, 7).reshape(2, 3)[:, :, None]
    repeated = repeat_steps(x, 2, torch.tensor([5, 2]), 5).squeeze(2)
    assert repeated.tolist() == [[1, 1, 2, 2, 3], [4, 4, 0, 0, 0]]


def test_attention_is_a_weighted_mean_of_the_valid_steps():
    torch.manual_seed(0)
    pool, x = AttentionPool(4).double(), torch.randn(3, 5, 4, dtype=torch.float64)
    for track, length, pooled in zip(x, LENGTHS, pool(x, VALID), strict=True):
        scores = torch.tanh(track[:length] @ pool.project.weight.T + pool.project.bias) @ pool.score.weight[0]
        torch.testing.assert_close(pooled, torch.softmax(scores, 0) @ track[:length])
    short = x[:, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, VALID[:, :2]), short)


@pytest.mark.parametrize("training", [True, False])
def test_equals_native_normalization_of_the_valid_positions(training):
    masked, native = normalizations()
    masked.train(training), native.train(training)
    x, y = batch(), batch()
    cotangent = torch.randn(x.shape, dtype=x.dtype)
    for _ in range(2):  # twice, for the running statistics
        ours, theirs = masked(x, VALID), native(positions(y))
    torch.testing.assert_close(positions(ours), theirs)
    assert (ours.transpose(1, 2)[~VALID] == 0).all()
    torch.testing.assert_close(masked.running_mean, native.running_mean)
    torch.testing.assert_close(masked.running_var, native.running_var)
    (ours * cotangent).sum().backward()
    (theirs * positions(cotangent)).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(masked.weight.grad, native.weight.grad)
    torch.testing.assert_close(masked.bias.grad, native.bias.grad)


@pytest.mark.parametrize("training", [True, False])
def test_is_native_without_padding(training):
    masked, native = normalizations()
    masked.train(training), native.train(training)
    x = batch()
    everything = torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(masked(x), native(x), rtol=0, atol=0)
    torch.testing.assert_close(masked(x, everything), native(x))
    assert {name: tensor.shape for name, tensor in masked.state_dict().items()} | {
        "num_batches_tracked": torch.Size([])
    } == {name: tensor.shape for name, tensor in native.state_dict().items()}


def test_gradient():
    masked, _ = normalizations()
    x = batch()

    def normalize(x, weight, bias):
        masked.reset_running_stats()
        return torch.func.functional_call(masked, {"weight": weight, "bias": bias}, (x, VALID))

    assert torch.autograd.gradcheck(normalize, (x, masked.weight, masked.bias))


def test_gradients_of_several_objectives_at_once():
    masked, _ = normalizations()
    x = batch()
    y = masked(x, VALID)
    cotangents = torch.randn(4, *y.shape, dtype=y.dtype)
    together = torch.autograd.grad(y, x, cotangents, is_grads_batched=True, retain_graph=True)[0]
    one_by_one = torch.stack([torch.autograd.grad(y, x, c, retain_graph=True)[0] for c in cotangents])
    torch.testing.assert_close(together, one_by_one)


def test_one_value_per_channel_is_normalized_by_the_running_statistics():
    for valid in (None, torch.tensor([[True]])):
        module = MaskedBatchNorm2d(2).train()
        x = torch.randn(1, 2, 1, 1)
        torch.testing.assert_close(module(x, valid), x, rtol=1e-4, atol=1e-4)
        assert torch.equal(module.running_mean, torch.zeros(2))
        assert torch.equal(module.running_var, torch.ones(2))


def test_constant_input_has_a_finite_gradient():
    module = MaskedBatchNorm2d(3).train()
    x = torch.full((3, 3, 5, 4), 2.0, requires_grad=True)
    y = module(x, VALID)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_half_precision_keeps_float32_statistics():
    module = MaskedBatchNorm2d(3).train()
    x = batch(torch.float32).detach()
    rounded = x.bfloat16().requires_grad_()
    y = module(rounded, VALID)
    expected = MaskedBatchNorm2d(3).train()(rounded.detach().float(), VALID)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected.bfloat16())
    assert module.running_mean.dtype == torch.float32
    y.sum().backward()
    assert rounded.grad.dtype == torch.bfloat16
