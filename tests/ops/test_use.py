"""Whatever surrounds a call: dtypes, layouts, grad modes, compilers, threads, forks, processes."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from musicemo.ops import soft_rank, soft_sort

OPERATIONS = (soft_rank, soft_sort)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("where", ["row", "deep", "flat"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.usefixtures("implementation")
def test_a_value_that_is_not_finite_is_refused_with_its_row(operation, where, value):
    x = torch.zeros({"row": (3, 4), "deep": (2, 3, 4), "flat": (4,)}[where])
    x[{"row": (2, 1), "deep": (1, 2, 1), "flat": (1,)}[where]] = value
    kind = "NaN" if value != value else "infinity"
    row = {"row": "2", "deep": r"\(1, 2\)", "flat": "0"}[where]
    with pytest.raises(ValueError, match=rf"row {row} holds {kind} \(position 1\)"):
        operation(x)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[..., 1] = False
    assert operation(x, mask=mask).isfinite().all()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_first_of_many_rows_is_named(operation):
    """Also where rows are shared among threads."""
    x = torch.zeros(600, 256)
    x[[411, 599], 3] = torch.nan
    with pytest.raises(ValueError, match="row 411 holds NaN"):
        operation(x)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_arguments_that_are_refused(operation):
    x = torch.zeros(2, 3)
    for strength in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="strength must be positive"):
            operation(x, strength=strength)
    with pytest.raises(ValueError, match="'l2' or 'kl'"):
        operation(x, regularization="l1")
    with pytest.raises(ValueError, match=r"floating point, not torch\.int64"):
        operation(x.long())
    with pytest.raises(ValueError, match="at least one dimension"):
        operation(torch.tensor(1.0))
    with pytest.raises(ValueError, match="must be a tensor"):
        operation([1.0, 2.0])


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.usefixtures("implementation")
def test_dtypes(operation, dtype):
    torch.manual_seed(0)
    x = torch.randn(3, 20).to(dtype).requires_grad_()
    wide = x.detach().to(torch.promote_types(dtype, torch.float32)).requires_grad_()
    result, expected = operation(x, strength=0.3), operation(wide, strength=0.3)
    assert result.dtype == wide.dtype
    torch.testing.assert_close(result, expected, rtol=0.0, atol=0.0)
    assert operation(x[:0]).dtype == wide.dtype
    weights = torch.randn_like(result)
    result.backward(weights)
    expected.backward(weights)
    torch.testing.assert_close(x.grad, wide.grad.to(dtype), rtol=0.0, atol=0.0)


@pytest.mark.parametrize(("dtype", "one"), [(torch.float16, 0x3C00), (torch.bfloat16, 0x3F80)])
@pytest.mark.usefixtures("implementation")
def test_half_precision_has_a_rank_for_every_value(dtype, one):
    values = (torch.arange(1000, dtype=torch.int16) + one).view(dtype)  # neighbours, from 1 on
    with torch.autocast("cpu", torch.bfloat16):
        assert soft_rank(values, strength=1e-6).tolist() == list(range(1, 1001))
        assert soft_sort(values.flip(0), strength=1e-6).tolist() == values.tolist()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("implementation")
def test_layouts(operation):
    torch.manual_seed(0)
    x = torch.randn(5, 4, 6)
    for view in (x.transpose(0, 2), x[:, ::2, 1:5], x[..., :1].expand(5, 4, 6), x.flip(-1)):
        leaf = view.detach().requires_grad_()
        copy = view.contiguous().detach().requires_grad_()
        operation(leaf).sum(0).square().sum().backward()
        operation(copy).sum(0).square().sum().backward()
        assert torch.equal(leaf.grad, copy.grad)
        assert torch.equal(operation(leaf), operation(copy))
    mask = torch.tensor([True, True, False, True, True, False])  # broadcast over rows
    assert torch.equal(operation(x, mask=mask), operation(x, mask=mask.expand(5, 4, 6)))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (2, 0, 4)])
@pytest.mark.usefixtures("implementation")
def test_empty_tensors(operation, shape):
    x = torch.empty(shape, requires_grad=True)
    result = operation(x)
    assert result.shape == x.shape
    result.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("implementation")
def test_inputs_are_left_as_they_are(operation):
    x = torch.randn(3, 50, requires_grad=True)
    kept = x.detach().clone()
    weights = torch.randn(3, 50)
    kept_weights = weights.clone()
    operation(x).backward(weights)
    assert torch.equal(x, kept)
    assert torch.equal(weights, kept_weights)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_grad_modes(operation):
    x = torch.randn(3, 8, requires_grad=True)
    with torch.no_grad():
        assert not operation(x).requires_grad
    with torch.inference_mode():
        assert operation(x).shape == x.shape
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = operation(x)
    assert result.dtype == torch.float32
    result.sum().backward()
    assert operation(x.detach()).requires_grad is False


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("regularization", ["l2", "kl"])
@pytest.mark.usefixtures("implementation")
def test_a_second_derivative_is_refused(operation, regularization):
    x = torch.randn(3, 8, requires_grad=True)
    value = operation(x, regularization=regularization).square().sum()
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(gradient.sum(), x)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("regularization", ["l2", "kl"])
def test_a_batch_of_backward_passes(operation, regularization):
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    result = operation(x, strength=0.5, regularization=regularization)
    weights = torch.randn(5, 3, 8, dtype=torch.float64)
    (together,) = torch.autograd.grad(result, x, weights, is_grads_batched=True, retain_graph=True)
    for weight, expected in zip(weights, together, strict=True):
        (alone,) = torch.autograd.grad(result, x, weight, retain_graph=True)
        torch.testing.assert_close(alone, expected)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_torch_compile(operation):
    def loss(v):
        return operation(v * 2.0, strength=0.3).square().sum()

    torch._dynamo.reset()
    x = torch.randn(3, 8, requires_grad=True)
    value = torch.compile(loss, backend="aot_eager")(x)
    (gradient,) = torch.autograd.grad(value, x)
    (expected,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_many_rows_at_once_from_many_threads(operation):
    x = torch.randn(300, 500, requires_grad=True)  # enough to be shared among threads
    weights = torch.randn(300, 500)
    expected = torch.cat([operation(row.detach()[None]) for row in x])
    results = [None] * 4

    def work(i):
        result = operation(x)
        results[i] = result.detach(), torch.autograd.grad(result, x, weights)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = x[77].detach().requires_grad_()
    operation(row).backward(weights[77])
    for result, gradient in results:
        assert torch.equal(result, expected)
        assert torch.equal(gradient[77], row.grad)


def python(code, **environment):
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.slow
def test_compiled_at_the_first_call_and_once_for_all_processes(tmp_path):
    code = """if True:
        import torch
        from musicemo import ops
        from musicemo.ops import _rank_kernels as k
        kernels = k.rank_rows, k.rank_vjp_rows
        assert not any(kernel.signatures for kernel in kernels), "compiled at import"
        ops.soft_rank(torch.randn(2, 4, requires_grad=True)).sum().backward()
        hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels)
        misses = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
        print(hits, misses)
    """
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == ["0", "2"]
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == ["2", "0"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own():
    code = """if True:
        import os, torch
        from musicemo.ops import soft_rank
        torch.set_num_threads(2)
        x = torch.randn(300, 500)
        expected = soft_rank(x)
        child = os.fork()
        if child == 0:
            os._exit(0 if torch.equal(soft_rank(x), expected) else 1)
        print(os.waitpid(child, 0)[1])
    """
    assert python(code) == ["0"]
