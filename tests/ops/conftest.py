import pytest

from musicemo.ops import _backend


@pytest.fixture(params=["kernels", "portable"])
def implementation(request, monkeypatch):
    """Run a test on the CPU kernels, and on what other devices use."""
    if request.param == "portable":
        monkeypatch.setattr(_backend, "has_kernels", lambda tensor: False)
    return request.param
