"""What every built-in dataset must hold beside the contract: call `assert_conforms(dataset)` on an instance."""

from __future__ import annotations

from musicemo.contracts import Dataset, Track
from musicemo.testing import check_dataset


def assert_conforms(dataset: Dataset) -> list[Track]:
    """Hold a dataset to its contract, and what reads audio to what predicting songs needs; return the tracks."""
    if getattr(dataset, "_recordings", None) is not None:
        assert dataset.sync, "what is trained on audio says what its columns are, so that it can predict songs"
        assert dataset.recipe, "what is trained on audio says what its features were made with"
    return check_dataset(dataset)
