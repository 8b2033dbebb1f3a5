import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small lose more to threads than they gain, most of all beside other test processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
